// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

/// When an append counts as done.
public enum LogDurability: Sendable {
    /// After fdatasync: survives a power cut.
    case fsync
    /// After the write: survives the end of the process, but a power cut may lose what was acknowledged since the last roll.
    case os
}

/// Every limit, size and time of an event log, with its default.
public struct EventLogConfiguration: Sendable {
    /// The directory that holds the log; made when it does not exist.
    public var directory: String
    /// How many partitions a new log gets, 1 to 128.
    ///
    /// An existing log must have been made with the same number.
    public var partitionCount: Int
    /// When an append is acknowledged.
    public var durability: LogDurability = .fsync
    /// Size of one journal file in bytes; a multiple of 4096, at most 1 GiB.
    ///
    /// A crash costs the reading of one such file at start.
    public var fileBytes: Int = 64 << 20
    /// A journal file that holds events is rolled after this time, so that retention by time can drop it.
    public var fileMilliseconds: Int64 = 3_600_000
    /// Events older than this are dropped, whole files at a time.
    public var retentionMilliseconds: Int64 = 86_400_000
    /// The oldest files are dropped when the log holds more bytes than this.
    public var retentionBytes: Int64 = 100 << 30
    /// Batches of one partition and commit are merged into frames of at most this many bytes.
    public var frameBytesMax: Int = 1 << 20
    /// Longest batch in bytes that `append` takes.
    ///
    /// It must fit a quarter of a file.
    public var batchBytesMax: Int = 1 << 20
    /// One write and one sync take at most about this many bytes of waiting batches.
    public var commitBytesMax: Int = 4 << 20
    /// `append` answers `overloaded` while this many bytes wait for the writer.
    public var queueBytesMax: Int = 64 << 20
    /// `append` answers `overloaded` while this many batches wait for the writer.
    public var queueBatchesMax: Int = 100_000
    /// Bytes of the newest events that stay in memory for each partition.
    public var tailBytesPerPartition: Int = 8 << 20
    /// Frame index entries of closed files that stay in memory for cold readers (40 bytes each).
    public var indexEntriesCached: Int = 200_000
    /// Threads that read from the disk for cold readers.
    public var readThreads: Int = 2
    /// Cold reads that may wait for a thread; more are answered with `overloaded`.
    public var readQueueMax: Int = 10_000
    /// Watches that one partition holds at most.
    public var watchesPerPartitionMax: Int = 10_000
    /// Space in bytes that must stay free on the disk: the log takes no new file that would go below it, so that the state
    /// store can still settle and delete.
    public var freeBytesReserved: Int64 = 64 << 20
    /// After a failed write, sync or roll, appends fail at once for this long before the disk is tried again.
    public var retryMilliseconds: Int64 = 250
    /// After this much quiet the end of the log is marked as durable, so that later damage to the last events is told from a
    /// torn write.
    public var markMilliseconds: Int64 = 100
    /// Time between two looks at retention, spare file and index checkpoints.
    public var keeperMilliseconds: Int64 = 1_000
    /// False only in tests: no thread is started, and `step()`, `keep()` and `stepReads()` do the work on the caller's thread.
    public var startsThreads: Bool = true

    /// Makes a configuration with the default of every limit.
    public init(directory: String, partitionCount: Int = 4) {
        self.directory = directory
        self.partitionCount = partitionCount
    }
}

extension EventLogConfiguration {
    /// Refuses settings that can't work together.
    func validate() throws(EventLogError) {
        guard (1...128).contains(partitionCount) else {
            throw .badConfiguration("partitionCount is \(partitionCount), it must be 1 to 128")
        }
        guard fileBytes % 4096 == 0, (16 << 10...1 << 30).contains(fileBytes) else {
            throw .badConfiguration("fileBytes is \(fileBytes), it must be a multiple of 4096 from 16384 to 1 GiB")
        }
        let room = fileBytes - JournalFile.headerBytes - 2 * partitionCount * PartitionCursor.encodedBytes
        guard batchBytesMax > 0, batchBytesMax + commitBytesMax <= room / 2 else {
            throw .badConfiguration("a batch and a commit must fit half of a journal file of \(fileBytes) bytes")
        }
        guard frameBytesMax > 0, queueBytesMax > 0, queueBatchesMax > 0, readThreads > 0 else {
            throw .badConfiguration("sizes and counts must be positive")
        }
    }
}
