// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import Logging
import NIOCore

/// The writer's side of the log: turns waiting batches into frames, writes and syncs them, and shows them to readers.
///
/// One thread at a time uses it. It does I/O only through the file system it is given and reads no clock but the one it is
/// given, so a test drives it step by step.
///
/// States of the file it writes:
/// | state | meaning | next |
/// |---|---|---|
/// | `file == nil` | at start, or after a failed write, sync or roll | the next commit makes a new file first |
/// | open, `prefix` not empty | new, nothing durable in it yet | the first commit writes snapshot and carried frames with it |
/// | open | takes commits | rolls when full or old |
struct Journal {
    let configuration: EventLogConfiguration
    let clock: LogClock
    let logger: Logger
    let partitions: [PartitionState]
    let files: LogFiles
    let statistics: LogStatistics

    /// What the next event of each partition gets; ahead of what readers see when a write failed.
    var cursors: [PartitionCursor]
    var file: (any LogFile)?
    var epoch: UInt32 = 0
    var writeByte = 0
    /// End of what was acknowledged.
    var acknowledged: LogPosition
    /// End of what is known to be synced: with durability `os` behind `acknowledged`.
    var synced: LogPosition
    /// What `acknowledged` was when this file was begun.
    var fileStart: LogPosition
    /// When the file was begun, by the clock that never jumps.
    var fileNanoseconds: UInt64 = 0
    /// Frames that must be in a new file before anything is acknowledged from it.
    var carried: [(header: FrameHeader, payload: ByteBuffer)]
    /// Snapshot and carried frames, until the first commit of the file.
    var prefix = FrameGroup()
    var fileHasEvents = false
    /// The end is marked as durable.
    var isMarked = true
    /// After a failure: not before this time, by the clock that never jumps, and why.
    var retry: (nanoseconds: UInt64, error: EventLogError)?

    init(
        _ configuration: EventLogConfiguration,
        _ clock: LogClock,
        _ logger: Logger,
        _ partitions: [PartitionState],
        _ files: LogFiles,
        _ statistics: LogStatistics,
        _ recovery: LogRecovery
    ) {
        self.configuration = configuration
        self.clock = clock
        self.logger = logger
        self.partitions = partitions
        self.files = files
        self.statistics = statistics
        cursors = recovery.cursors
        acknowledged = recovery.end
        synced = recovery.end
        fileStart = recovery.end
        carried = recovery.carried
    }

    /// Room that is always left in a file: for the mark at its end.
    var markBytes: Int { FrameHeader.frameBytes(payload: cursors.count * PartitionCursor.encodedBytes) }

    /// Whether the file holds events long enough to be closed.
    var isFileOld: Bool {
        fileHasEvents && clock.nanoseconds() >= Self.later(fileNanoseconds, by: configuration.fileMilliseconds)
    }

    /// The time so many milliseconds after another.
    static func later(_ nanoseconds: UInt64, by milliseconds: Int64) -> UInt64 {
        let (span, isTooLong) = UInt64(clamping: milliseconds).multipliedReportingOverflow(by: 1_000_000)
        let (time, isTooLate) = nanoseconds.addingReportingOverflow(span)
        return isTooLong || isTooLate ? .max : time
    }

    /// What the position behind the last synced byte means for the frames written next.
    var durableClaim: LogPosition { configuration.durability == .fsync ? acknowledged : synced }
}

/// Frames that are built, with what readers need to know of them.
struct FrameGroup {
    /// Whole frames, as they are written.
    var buffers: [ByteBuffer] = []
    var bytes = 0
    /// For each partition it holds events of, in the order of the journal.
    var published: [(partition: Int, entry: FrameEntry, slice: FrameSlice)] = []

    mutating func append(_ header: FrameHeader, _ buffer: ByteBuffer) {
        buffers.append(buffer)
        bytes += buffer.readableBytes
        guard header.kind == .events,
            let records = buffer.getSlice(at: FrameHeader.bytes, length: header.payloadBytes)
        else { return }
        let slice = FrameSlice(
            enqueuedMilliseconds: header.milliseconds,
            firstSequence: header.firstSequence,
            firstOffset: header.firstOffset,
            records: records
        )
        published.append((header.partition, FrameEntry(header), slice))
    }
}
