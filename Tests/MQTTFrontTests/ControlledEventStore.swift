// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import HubModel
import NIOCore
import Synchronization

/// An event store whose answers the test decides, for the waits that a real one is too fast to show.
final class ControlledEventStore: EventStore {
    enum Mode: Sendable {
        /// Stores at once.
        case immediate
        /// Answers when `release()` is called.
        case held
        /// Fails every append.
        case failing(HubErrorCode)
    }

    private struct State {
        var mode = Mode.immediate
        var stored: [EventBatch] = []
        var waiting: [(EventBatch, EventLoopPromise<EventPosition>)] = []
        var attempts = 0
    }

    let partitionCount = 4
    let createdTimeMilliseconds: Int64 = 0
    let isWritable = true
    private let state = Mutex(State())

    var mode: Mode {
        get { state.withLock { $0.mode } }
        set { state.withLock { $0.mode = newValue } }
    }

    /// What is durable, in order.
    var stored: [EventBatch] { state.withLock { $0.stored } }
    /// How many batches wait for `release()`.
    var waitingCount: Int { state.withLock { $0.waiting.count } }
    /// How often an append was asked for.
    var attempts: Int { state.withLock { $0.attempts } }

    func append(_ batch: EventBatch, on eventLoop: any EventLoop) -> EventLoopFuture<EventPosition> {
        let position = EventPosition(firstSequenceNumber: 0, firstOffset: 0, enqueuedTimeMilliseconds: 0)
        return state.withLock { state in
            state.attempts += 1
            switch state.mode {
            case .immediate:
                state.stored.append(batch)
                return eventLoop.makeSucceededFuture(position)
            case .failing(let code):
                return eventLoop.makeFailedFuture(HubError(code, "The test says so."))
            case .held:
                let promise = eventLoop.makePromise(of: EventPosition.self)
                state.waiting.append((batch, promise))
                return promise.futureResult
            }
        }
    }

    /// Makes the batches that wait durable, or fails them.
    func release(failing code: HubErrorCode? = nil) {
        let waiting = state.withLock { state in
            defer { state.waiting = [] }
            if code == nil { state.stored += state.waiting.map(\.0) }
            return state.waiting
        }
        for (_, promise) in waiting {
            if let code {
                promise.fail(HubError(code, "The test says so."))
            } else {
                promise.succeed(EventPosition(firstSequenceNumber: 0, firstOffset: 0, enqueuedTimeMilliseconds: 0))
            }
        }
    }

    func readResident(partition: Int, from cursor: EventCursor, bytesMax: Int) -> EventSlice? { nil }

    func read(
        partition: Int,
        from cursor: EventCursor,
        bytesMax: Int,
        on eventLoop: any EventLoop
    ) -> EventLoopFuture<EventSlice> {
        eventLoop.makeFailedFuture(HubError(.notSupported, "Nobody reads here."))
    }

    func locate(
        partition: Int,
        _ position: StartingPosition,
        on eventLoop: any EventLoop
    ) -> EventLoopFuture<EventCursor> {
        eventLoop.makeFailedFuture(HubError(.notSupported, "Nobody reads here."))
    }

    func info(partition: Int) -> PartitionInfo { preconditionFailure("nobody asks here") }

    func watch(partition: Int, on eventLoop: any EventLoop, wake: @escaping @Sendable () -> Void) -> any EventWatch {
        preconditionFailure("nobody watches here")
    }
}
