// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import HubModel
import NIOCore
import Synchronization

/// Events in memory, of which a test decides what is resident, what is retained, and when a cold read completes.
final class ScriptedEventStore: EventStore {
    struct Partition: Sendable {
        var frames: [EventFrame] = []
        var nextSequenceNumber: Int64 = 0
        var nextOffset: Int64 = 0
        var last: PartitionInfo?
        var residentFrom: Int64 = 0
        var watches: [Int: @Sendable () -> Void] = [:]
    }

    struct State: Sendable {
        var partitions: [Partition]
        var nextWatch = 0
        var coldReads = 0
        var held: [EventLoopPromise<Void>] = []
        var holdsColdReads = false
        var holdsAppends = false
        var appendError: HubError?
        var heldAppends: [EventLoopPromise<EventPosition>] = []
        var batches = 0
    }

    let partitionCount: Int
    let createdTimeMilliseconds: Int64 = 1_600_000_000_000
    let isWritable = true
    let state: Mutex<State>
    let clock: HubClock

    init(partitionCount: Int, clock: HubClock) {
        self.partitionCount = partitionCount
        self.clock = clock
        state = Mutex(State(partitions: Array(repeating: Partition(), count: partitionCount)))
    }

    func append(_ batch: EventBatch, on eventLoop: any EventLoop) -> EventLoopFuture<EventPosition> {
        let now = clock.milliseconds
        if let error = state.withLock({ $0.appendError }) { return eventLoop.makeFailedFuture(error) }
        let (position, wakes) = state.withLock { state in
            var partition = state.partitions[batch.partition]
            let frame = EventFrame(
                enqueuedTimeMilliseconds: now,
                firstSequenceNumber: partition.nextSequenceNumber,
                firstOffset: partition.nextOffset,
                records: batch.records
            )
            partition.frames.append(frame)
            partition.nextSequenceNumber += Int64(batch.publicCount)
            partition.nextOffset += Int64(batch.records.readableBytes)
            let last = Array(frame.entries).last
            partition.last = PartitionInfo(
                beginSequenceNumber: 0,
                lastSequenceNumber: last?.sequenceNumber ?? -1,
                lastOffset: last?.offset ?? -1,
                lastEnqueuedTimeMilliseconds: now,
                isEmpty: false
            )
            state.partitions[batch.partition] = partition
            state.batches += 1
            let position = EventPosition(
                firstSequenceNumber: frame.firstSequenceNumber,
                firstOffset: frame.firstOffset,
                enqueuedTimeMilliseconds: now
            )
            return (position, Array(partition.watches.values))
        }
        for wake in wakes { eventLoop.execute(wake) }
        guard state.withLock({ $0.holdsAppends }) else { return eventLoop.makeSucceededFuture(position) }
        let promise = eventLoop.makePromise(of: EventPosition.self)
        state.withLock { $0.heldAppends.append(promise) }
        return promise.futureResult.map { _ in position }
    }

    private func slice(_ partition: Partition, _ cursor: EventCursor, _ bytesMax: Int) -> EventSlice {
        var frames: [EventFrame] = []
        var bytes = 0
        var next = cursor
        for frame in partition.frames {
            let end = frame.firstOffset + Int64(frame.records.readableBytes)
            guard end > cursor.offset else { continue }
            if !frames.isEmpty, bytes + frame.records.readableBytes > bytesMax { break }
            frames.append(frame)
            bytes += frame.records.readableBytes
            next = EventCursor(offset: end)
        }
        return EventSlice(frames: frames, next: next)
    }

    func readResident(partition: Int, from cursor: EventCursor, bytesMax: Int) -> EventSlice? {
        state.withLock { state in
            let kept = state.partitions[partition]
            guard cursor.offset >= kept.residentFrom else { return nil }
            return slice(kept, cursor, bytesMax)
        }
    }

    func read(
        partition: Int,
        from cursor: EventCursor,
        bytesMax: Int,
        on eventLoop: any EventLoop
    ) -> EventLoopFuture<EventSlice> {
        let promise = eventLoop.makePromise(of: Void.self)
        let (result, isHeld) = state.withLock { state in
            state.coldReads += 1
            if state.holdsColdReads { state.held.append(promise) }
            return (slice(state.partitions[partition], cursor, bytesMax), state.holdsColdReads)
        }
        if !isHeld { promise.succeed() }
        return promise.futureResult.map { result }
    }

    func locate(
        partition: Int,
        _ position: StartingPosition,
        on eventLoop: any EventLoop
    ) -> EventLoopFuture<EventCursor> {
        let cursor = state.withLock { state in
            let kept = state.partitions[partition]
            if position == .latest { return EventCursor(offset: kept.nextOffset) }
            for frame in kept.frames {
                for entry in frame.entries {
                    let isWanted =
                        switch position {
                        case .earliest: true
                        case .latest: false
                        case .offset(let n, let inclusive): inclusive ? entry.offset >= n : entry.offset > n
                        case .sequenceNumber(let n, let inclusive):
                            inclusive ? entry.sequenceNumber >= n : entry.sequenceNumber > n
                        case .enqueuedTime(let n, let inclusive):
                            inclusive ? frame.enqueuedTimeMilliseconds >= n : frame.enqueuedTimeMilliseconds > n
                        }
                    if isWanted { return EventCursor(offset: entry.offset) }
                }
            }
            return EventCursor(offset: kept.nextOffset)
        }
        return eventLoop.makeSucceededFuture(cursor)
    }

    func info(partition: Int) -> PartitionInfo {
        state.withLock { state in
            let kept = state.partitions[partition]
            guard var info = kept.last else {
                return PartitionInfo(
                    beginSequenceNumber: 0,
                    lastSequenceNumber: -1,
                    lastOffset: -1,
                    lastEnqueuedTimeMilliseconds: nil,
                    isEmpty: true
                )
            }
            info.beginSequenceNumber = kept.frames.first?.firstSequenceNumber ?? kept.nextSequenceNumber
            info.isEmpty = kept.frames.isEmpty
            return info
        }
    }

    struct Watch: EventWatch {
        let onCancel: @Sendable () -> Void
        func cancel() { onCancel() }
    }

    func watch(partition: Int, on eventLoop: any EventLoop, wake: @escaping @Sendable () -> Void) -> any EventWatch {
        let number = state.withLock { state in
            state.nextWatch += 1
            state.partitions[partition].watches[state.nextWatch] = wake
            return state.nextWatch
        }
        return Watch { [self] in state.withLock { $0.partitions[partition].watches[number] = nil } }
    }

    // MARK: What tests turn

    /// Lets no append complete until it is told to.
    func holdAppends() { state.withLock { $0.holdsAppends = true } }

    /// Completes the appends that are held.
    func releaseAppends() {
        let held = state.withLock { state in
            defer { state.heldAppends = [] }
            state.holdsAppends = false
            return state.heldAppends
        }
        let done = EventPosition(firstSequenceNumber: 0, firstOffset: 0, enqueuedTimeMilliseconds: 0)
        for promise in held { promise.succeed(done) }
    }

    /// Fails every later append; nil ends that.
    func failAppends(_ error: HubError?) { state.withLock { $0.appendError = error } }

    /// How many batches were appended.
    var batchCount: Int { state.withLock { $0.batches } }

    /// All frames of all partitions.
    var frames: [EventFrame] { state.withLock { $0.partitions.flatMap(\.frames) } }

    /// Makes everything before the end cold.
    func evict(partition: Int) {
        state.withLock { $0.partitions[partition].residentFrom = $0.partitions[partition].nextOffset }
    }

    /// Drops the first frames, as retention does.
    func drop(frames: Int, partition: Int) { state.withLock { $0.partitions[partition].frames.removeFirst(frames) } }

    var watchCount: Int { state.withLock { $0.partitions.reduce(0) { $0 + $1.watches.count } } }
}
