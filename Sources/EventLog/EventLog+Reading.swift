// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import Logging
public import NIOCore
import Synchronization

/// What a partition holds at one moment.
public struct LogPartitionInfo: Sendable, Equatable {
    /// Public sequence number of the first retained event; the next one to be given when nothing is retained.
    public var beginSequence: Int64
    /// Public sequence number of the last event; -1 when there never was one.
    public var lastSequence: Int64
    /// Offset of the last event for the built-in endpoint; -1 when there never was one.
    public var lastOffset: Int64
    /// When the last event was taken, milliseconds since 1970; nil when there never was one.
    public var lastEnqueuedMilliseconds: Int64?
    /// Whether nothing is retained.
    public var isEmpty: Bool
}

/// Where a reader wants to start.
public enum LogQuery: Sendable, Hashable {
    /// At the first retained event.
    case earliest
    /// At the next event that becomes durable.
    case latest
    /// At the first event with a sequence number greater than this, or equal to it.
    case sequence(Int64, inclusive: Bool)
    /// At the first event with an offset greater than this, or equal to it.
    case offset(Int64, inclusive: Bool)
    /// At the first event taken after this time in milliseconds since 1970, or at it; where there is none yet, at the end.
    case enqueuedTime(Int64, inclusive: Bool)
}

/// A standing wish to be woken.
public struct LogWatch: Sendable {
    let partition: PartitionState
    let id: UInt64

    /// Ends the wish.
    ///
    /// A wake that is under way may still arrive.
    public func cancel() {
        partition.state.withLock { state in state.watches.removeAll { $0.id == id } }
    }
}

extension EventLog {
    /// Whole frames from memory, without waiting: the first one holds the event at `offset`, or is the first one after it.
    public func readResident(_ partition: Int, from offset: Int64, bytesMax: Int) -> ResidentRead {
        guard partitions.indices.contains(partition) else { return .atEnd }
        return partitions[partition].state.withLock { $0.resident(from: offset, bytesMax: bytesMax) }
    }

    /// Whole frames from wherever they are, read on the log's own threads.
    ///
    /// An offset that retention has passed continues at the first retained event; at the end the slice is empty.
    public func read(
        _ partition: Int,
        from offset: Int64,
        bytesMax: Int,
        on eventLoop: any EventLoop
    ) -> EventLoopFuture<ReadSlice> {
        switch readResident(partition, from: offset, bytesMax: bytesMax) {
        case .slice(let slice):
            return eventLoop.makeSucceededFuture(slice)
        case .atEnd, .cold:
            return onReadThread(partition, eventLoop) { try $0.read(from: offset, bytesMax: bytesMax) }
        }
    }

    /// What a partition holds; nil when there is no such partition.
    public func info(_ partition: Int) -> LogPartitionInfo? {
        guard partitions.indices.contains(partition) else { return nil }
        return partitions[partition].state.withLock { state in
            LogPartitionInfo(
                beginSequence: state.beginSequence,
                lastSequence: state.cursor.nextSequence - 1,
                lastOffset: state.cursor.lastOffset,
                lastEnqueuedMilliseconds: state.cursor.lastMilliseconds < 0 ? nil : state.cursor.lastMilliseconds,
                isEmpty: state.isEmpty
            )
        }
    }

    /// Whether synced events of the partition were found damaged, so that it takes no more.
    public func isDamaged(_ partition: Int) -> Bool {
        partitions.indices.contains(partition) && partitions[partition].isDamaged.load(ordering: .relaxed)
    }

    /// The offset where a reader starts.
    ///
    /// Fixed at the moment of the call.
    public func locate(_ partition: Int, _ query: LogQuery, on eventLoop: any EventLoop) -> EventLoopFuture<Int64> {
        guard partitions.indices.contains(partition) else {
            return eventLoop.makeFailedFuture(EventLogError.noSuchPartition(partition))
        }
        if let known = partitions[partition].state.withLock({ Self.locate(query, $0) }) {
            return eventLoop.makeSucceededFuture(known)
        }
        let end = partitions[partition].state.withLock { $0.cursor.nextOffset }
        return onReadThread(partition, eventLoop) { try $0.locate(query) ?? end }
    }

    /// What needs no search.
    private static func locate(_ query: LogQuery, _ state: PartitionState.State) -> Int64? {
        switch query {
        case .earliest: return state.beginOffset
        case .latest: return state.cursor.nextOffset
        case .offset(let offset, let inclusive):
            return max(state.beginOffset, inclusive || offset == .max ? offset : offset + 1)
        case .sequence(let sequence, let inclusive):
            let first = inclusive || sequence == .max ? sequence : sequence + 1
            if first <= state.beginSequence { return state.beginOffset }
            return first >= state.cursor.nextSequence ? state.cursor.nextOffset : nil
        case .enqueuedTime(let time, let inclusive):
            let isBehind = inclusive ? time > state.cursor.lastMilliseconds : time >= state.cursor.lastMilliseconds
            return isBehind ? state.cursor.nextOffset : nil
        }
    }

    /// Calls `wake` on the loop whenever events of the partition became durable, until the watch is cancelled.
    ///
    /// It is called once for each commit, together with the acknowledgements for that loop. Nil when there is no such
    /// partition, or when it has as many watches as the settings allow.
    public func watch(_ partition: Int, on eventLoop: any EventLoop, wake: @escaping @Sendable () -> Void) -> LogWatch?
    {
        guard partitions.indices.contains(partition) else { return nil }
        let limit = configuration.watchesPerPartitionMax
        let id = partitions[partition].state.withLock { state -> UInt64? in
            guard state.watches.count < limit else { return nil }
            state.nextWatch += 1
            state.watches.append(PartitionState.Watch(id: state.nextWatch, loop: eventLoop, wake: wake))
            return state.nextWatch
        }
        guard let id else {
            logger.warning(
                "A reader gets no wakes: the partition has too many",
                metadata: ["partition": "\(partition)"]
            )
            return nil
        }
        return LogWatch(partition: partitions[partition], id: id)
    }

    private func onReadThread<Value: Sendable>(
        _ partition: Int,
        _ eventLoop: any EventLoop,
        _ body: @escaping @Sendable (ColdReader) throws -> Value
    ) -> EventLoopFuture<Value> {
        guard partitions.indices.contains(partition) else {
            return eventLoop.makeFailedFuture(EventLogError.noSuchPartition(partition))
        }
        let promise = eventLoop.makePromise(of: Value.self)
        let reader = ColdReader(partition: partition, state: partitions[partition], files: files, logger: logger)
        let error = reads.add {
            do {
                promise.succeed(try body(reader))
            } catch let error as LogFileError {
                promise.fail(EventLogError.readFailed(error.description))
            } catch {
                promise.fail(error)
            }
        }
        if let error { promise.fail(error) }
        return promise.futureResult
    }

    /// Runs the reads that wait, on this thread.
    ///
    /// Only for a log that starts no threads.
    public func stepReads() {
        while reads.runOne() {}
    }
}

extension ColdReader {
    /// The offset of the first event that fits; nil when there is none.
    fileprivate func locate(_ query: LogQuery) throws -> Int64? {
        switch query {
        case .earliest, .latest, .offset:
            return nil
        case .enqueuedTime(let time, let inclusive):
            let first = inclusive || time == .max ? time : time + 1
            return try find(extent: { $0.lastMilliseconds >= first }, entry: { $0.milliseconds >= first })?.firstOffset
        case .sequence(let sequence, let inclusive):
            let first = inclusive || sequence == .max ? sequence : sequence + 1
            let found = try find(extent: { $0.endSequence > first }, entry: { $0.endSequence > first })
            guard let found, found.firstSequence < first else { return found?.firstOffset }
            let slice = try read(from: found.firstOffset, bytesMax: 0)
            let event = slice.frames.first?.first { $0.destinations.contains(.events) && $0.sequence >= first }
            return event?.offset ?? found.firstOffset
        }
    }
}
