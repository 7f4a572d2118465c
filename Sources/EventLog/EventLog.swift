// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

public import Logging
public import NIOCore
import Synchronization

/// An append-only, partitioned log of events on journal files.
///
/// An append is acknowledged after it is durable; many are made durable together, by one write and one sync for all
/// partitions. Readers see only what is durable: the newest events from memory, older ones from the disk. All functions may
/// be called on any thread, and none but `open` blocks.
public final class EventLog: Sendable {
    /// The settings the log was opened with.
    public let configuration: EventLogConfiguration
    /// When the log was made, milliseconds since 1970.
    public let createdMilliseconds: Int64

    let partitions: [PartitionState]
    let files: LogFiles
    let queue: CommitQueue
    let journal: Mutex<Journal>
    let reads: ReadPool
    let counters: LogStatistics
    let clock: LogClock
    let logger: Logger
    let lifecycle = Mutex(Lifecycle())
    private let keeperEnded = Doorbell()

    struct Lifecycle {
        var isClosing = false
        var isClosed = false
        var waiters: [CheckedContinuation<Void, Never>] = []
    }

    private init(
        _ configuration: EventLogConfiguration,
        _ metadata: LogMetadata,
        _ recovery: LogRecovery,
        _ fileSystem: any LogFileSystem,
        _ clock: LogClock,
        _ logger: Logger
    ) throws {
        self.configuration = configuration
        createdMilliseconds = metadata.createdMilliseconds
        self.clock = clock
        self.logger = logger
        counters = LogStatistics()
        queue = CommitQueue(bytesMax: configuration.queueBytesMax, batchesMax: configuration.queueBatchesMax)
        reads = ReadPool(jobsMax: configuration.readQueueMax)
        partitions = recovery.visibleCursors.enumerated().map { partition, cursor in
            PartitionState(
                cursor: cursor,
                extents: recovery.sources.compactMap { $0.index.extents[partition] },
                isDamaged: recovery.damagedPartitions.contains(partition),
                tailBytes: configuration.tailBytesPerPartition
            )
        }
        files = LogFiles(configuration, fileSystem, recovery.filesState)
        let journal = Journal(configuration, clock, logger, partitions, files, counters, recovery)
        self.journal = Mutex(journal)
    }

    /// Opens the log in a directory, or makes it; recovers what a crash left.
    ///
    /// - Throws: `EventLogError` for a wrong configuration, another partition count, or a newer format; `LogFileError` when
    ///   the directory can't be read or made. A full disk and damaged events do not throw: the log can still be read.
    public static func open(
        _ configuration: EventLogConfiguration,
        fileSystem: any LogFileSystem = PosixFileSystem(),
        clock: LogClock = .system,
        logger: Logger
    ) throws -> EventLog {
        try configuration.validate()
        let metadata = try LogMetadata.open(configuration, fileSystem, now: clock.milliseconds())
        var recovery = LogRecovery(configuration, fileSystem)
        try recovery.run()
        recovery.report(to: logger)
        let log = try EventLog(configuration, metadata, recovery, fileSystem, clock, logger)
        // The new file, and what has to be made durable in it, come before anything else.
        log.journal.withLock { $0.idle() }
        if configuration.startsThreads { log.startThreads() }
        return log
    }

    private func startThreads() {
        WorkerThread.start("log-writer") { [self] in runWriter() }
        WorkerThread.start("log-keeper") { [self] in
            while !lifecycle.withLock({ $0.isClosing }) {
                keep()
                _ = files.bell.sleep(milliseconds: configuration.keeperMilliseconds)
            }
            keeperEnded.ring()
        }
        reads.start(threads: configuration.readThreads)
    }

    private func runWriter() {
        while true {
            let (entries, isClosed) = queue.take()
            guard entries.isEmpty else {
                commit(entries)
                continue
            }
            if isClosed { break }
            let isMarked = journal.withLock { $0.isMarked }
            let pause = isMarked ? configuration.keeperMilliseconds : configuration.markMilliseconds
            if !queue.doorbell.sleep(milliseconds: pause) { journal.withLock { $0.idle() } }
        }
        // Nobody may touch the directory after `close` has returned: the next log may be open on it.
        files.bell.ring()
        while !keeperEnded.sleep(milliseconds: 60_000) {}
        finish()
    }

    private func commit(_ entries: [PendingAppend]) {
        var wakes = WakeList()
        journal.withLock { $0.commit(entries, into: &wakes) }
        wakes.fire()
    }

    /// Appends the events of one partition.
    ///
    /// The future completes on `eventLoop` after the events are durable, in the order of the appends from that loop, with
    /// one wake of the loop for all that became durable together. It fails with an `EventLogError`: at once with
    /// `overloaded` while more waits than the settings allow (the caller holds the events back and stops reading from
    /// their senders), with `storageFull` or `writeFailed` when the disk refuses; nothing of a failed batch is acknowledged,
    /// and its numbers are not used again.
    public func append(_ batch: AppendBatch, on eventLoop: any EventLoop) -> EventLoopFuture<AppendResult> {
        guard partitions.indices.contains(batch.partition) else {
            return eventLoop.makeFailedFuture(EventLogError.noSuchPartition(batch.partition))
        }
        guard batch.bytes <= configuration.batchBytesMax else {
            let error = EventLogError.batchTooLarge(bytes: batch.bytes, limit: configuration.batchBytesMax)
            return eventLoop.makeFailedFuture(error)
        }
        guard !partitions[batch.partition].isDamaged.load(ordering: .relaxed) else {
            return eventLoop.makeFailedFuture(EventLogError.partitionDamaged(batch.partition))
        }
        let survey = batch.records.withUnsafeReadableBytes { FrameCodec.survey($0) }
        guard let survey, survey.count == batch.count, survey.publicCount == batch.publicCount, survey.count > 0 else {
            return eventLoop.makeFailedFuture(EventLogError.malformedBatch)
        }
        let promise = eventLoop.makePromise(of: AppendResult.self)
        let entry = PendingAppend(batch: batch, lastPublicStart: survey.lastPublicStart, promise: promise)
        if let error = queue.add(entry) { promise.fail(error) }
        return promise.futureResult
    }

    /// Whether appends are taken now: false when closed, and from a failed write to the next one that succeeds.
    public var isWritable: Bool {
        !counters.isFailing.load(ordering: .relaxed) && !lifecycle.withLock { $0.isClosing }
    }

    /// What the log has done since it was opened.
    public var statistics: EventLogStatistics {
        var statistics = counters.snapshot
        (statistics.queuedBatches, statistics.queuedBytes) = queue.depth
        statistics.storedBytes = files.state.withLock { state in
            state.closed.reduce(Int64(configuration.fileBytes)) { $0 + $1.bytes }
        }
        return statistics
    }

    // MARK: Closing

    /// Takes no more appends, makes durable what waits, marks the end and returns when the threads have let go of the files.
    public func close() async {
        guard configuration.startsThreads else { return closeStepped() }
        await withCheckedContinuation { continuation in
            let isClosed = lifecycle.withLock { state in
                state.isClosing = true
                if !state.isClosed { state.waiters.append(continuation) }
                return state.isClosed
            }
            if isClosed { continuation.resume() }
            queue.close()
            files.bell.ring()
        }
    }

    private func finish() {
        journal.withLock { $0.close() }
        reads.close()
        let waiters = lifecycle.withLock { state in
            state.isClosing = true
            state.isClosed = true
            defer { state.waiters = [] }
            return state.waiters
        }
        for waiter in waiters { waiter.resume() }
    }

    // MARK: Without threads

    /// Does the writer's next turn on this thread: commits all that waits, or what is to be done when nothing does.
    ///
    /// Only for a log that starts no threads.
    public func step() {
        let entries = queue.take().entries
        if entries.isEmpty { journal.withLock { $0.idle() } } else { commit(entries) }
    }

    /// Closes a log that starts no threads.
    public func closeStepped() {
        queue.close()
        commit(queue.take().entries)
        finish()
    }

    /// Does one round of the keeper: retention, checkpoints and the spare file.
    public func keep() {
        do {
            files.removeDiscarded()
            try files.applyRetention(partitions, now: clock.milliseconds())
            try files.saveIndexes()
            try files.makeSpare()
        } catch  where error.kind == .noSpace {
            logger.debug("No space for a spare journal file")
        } catch {
            logger.warning("The event log could not be tidied", metadata: ["error": "\(error)"])
        }
    }
}
