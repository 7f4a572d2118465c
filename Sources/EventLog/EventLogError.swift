// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

/// Why the log refused or failed something.
///
/// Safe to print.
public enum EventLogError: Error, Sendable, Equatable {
    /// The queue to the writer, or to the reading threads, is full; try again when what is in flight has been answered.
    case overloaded
    /// The disk is full; nothing was stored, and the log recovers by itself when space returns.
    case storageFull
    /// A write or sync failed; nothing of this was acknowledged, and the log goes on in a new file.
    case writeFailed(String)
    /// A read failed.
    case readFailed(String)
    /// Synced data of this partition is damaged; it takes no events until `roost log repair`.
    case partitionDamaged(Int)
    /// There is no such partition.
    case noSuchPartition(Int)
    /// The batch is larger than the setting allows.
    case batchTooLarge(bytes: Int, limit: Int)
    /// The records of the batch do not agree with its counts.
    case malformedBatch
    /// The log has been closed.
    case closed
    /// The log was made with another number of partitions, which can't be changed.
    case partitionCountMismatch(existing: Int, requested: Int)
    /// The log was written by a newer version.
    case newerFormat(found: Int, supported: Int)
    /// The file that describes the log can't be read.
    case badMetadata(String)
    /// A setting is out of range.
    case badConfiguration(String)
}

extension EventLogError: CustomStringConvertible {
    /// One sentence that says what happened and what to do.
    public var description: String {
        switch self {
        case .overloaded: "the event log's queue is full; wait for answers before sending more"
        case .storageFull: "the disk of the event log is full; free space on it"
        case .writeFailed(let reason): "writing the event log failed: \(reason)"
        case .readFailed(let reason): "reading the event log failed: \(reason)"
        case .partitionDamaged(let partition):
            "stored events of partition \(partition) are damaged; run 'roost log check', then 'roost log repair'"
        case .noSuchPartition(let partition): "there is no partition \(partition)"
        case .batchTooLarge(let bytes, let limit): "a batch of \(bytes) bytes is over the limit of \(limit)"
        case .malformedBatch: "a batch of events is malformed"
        case .closed: "the event log is closed"
        case .partitionCountMismatch(let existing, let requested):
            "the event log was made with \(existing) partitions and can't be changed to \(requested); "
                + "set partitionCount to \(existing), or start with an empty data directory"
        case .newerFormat(let found, let supported):
            "the event log has format \(found), this version reads up to \(supported); use the newer version of roost"
        case .badMetadata(let reason): "the event log's description is unreadable: \(reason)"
        case .badConfiguration(let reason): "the event log can't be configured so: \(reason)"
        }
    }
}
