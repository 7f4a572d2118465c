// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

public import HubModel
public import NIOCore
import Synchronization

/// Hands out the records that tell senders how their commands ended, in batches, to whoever watches.
///
/// Readers compete: a batch that one has locked is not given to another.
public final class Feedback: Sendable {
    private struct Watcher: Sendable {
        let eventLoop: any EventLoop
        let ring: @Sendable () -> Void
    }

    /// Whether a ring is to come when what was recorded has waited long enough.
    private enum Timer {
        case idle, running, runningAgain
    }

    private struct State {
        var watchers: [UInt64: Watcher] = [:]
        var lastWatcher: UInt64 = 0
        var timer = Timer.idle
        var recordedCount = 0
    }

    private let store: any CommandStore
    private let limits: FeedbackLimits
    private let clock: HubClock
    private let state = Mutex(State())

    init(store: any CommandStore, limits: FeedbackLimits, clock: HubClock) {
        self.store = store
        self.limits = limits
        self.clock = clock
    }

    /// Calls `ring` on the loop whenever there may be a batch to be had, until the watch is cancelled.
    ///
    /// A ring is a hint: ``next(on:)`` may have nothing. It comes also for what waited before the watch began.
    public func watch(on eventLoop: any EventLoop, ring: @escaping @Sendable () -> Void) -> FeedbackWatch {
        let number = self.state.withLock { state in
            state.lastWatcher += 1
            state.watchers[state.lastWatcher] = Watcher(eventLoop: eventLoop, ring: ring)
            return state.lastWatcher
        }
        eventLoop.execute(ring)
        self.recorded(0)
        return FeedbackWatch { [weak self] in
            self?.state.withLock { state in state.watchers[number] = nil }
        }
    }

    /// Locks the next batch; completes on the loop, with nil where there is none to be had yet.
    ///
    /// A batch is full, or its oldest record has waited as long as it should. Fails with a ``HubError``: what the store
    /// suffers.
    public func next(on eventLoop: any EventLoop) -> EventLoopFuture<LockedFeedback?> {
        let now = self.clock.milliseconds
        let request = FeedbackLockRequest(
            max: self.limits.batchMax,
            readyMilliseconds: now - Int64(self.limits.delayMilliseconds),
            untilMilliseconds: now + Int64(self.limits.lockSeconds) * 1000,
            milliseconds: now
        )
        let promise = eventLoop.makePromise(of: LockedFeedback?.self)
        self.store.lockFeedback(request) { promise.completeWith($0.mapError { $0 }) }
        return promise.futureResult
    }

    /// Settles a batch; completes on the loop when that is durable.
    ///
    /// Completed and rejected batches are gone; abandoned and released ones come again, and abandoned ones are counted.
    /// Fails with a ``HubError``: `.messageLockLost`, or what the store suffers.
    public func settle(
        _ token: LockToken,
        _ outcome: CommandOutcome,
        on eventLoop: any EventLoop
    ) -> EventLoopFuture<Void> {
        let promise = eventLoop.makePromise(of: Void.self)
        self.store.settleFeedback(token, outcome, atMilliseconds: self.clock.milliseconds) { result in
            if case .success(let returned) = result, returned > 0 { self.ring() }
            promise.completeWith(result.map { _ in }.mapError { $0 })
        }
        return promise.futureResult
    }

    /// Tells the watchers that there may be a batch; called on any thread.
    func ring() {
        for watcher in self.state.withLock({ Array($0.watchers.values) }) {
            watcher.eventLoop.execute(watcher.ring)
        }
    }

    /// Notes that records were written: watchers hear of it when they fill a batch, or have waited long enough.
    func recorded(_ count: Int) {
        let (isFull, timerLoop) = self.state.withLock { state -> (Bool, (any EventLoop)?) in
            guard let watcher = state.watchers.values.first else { return (false, nil) }
            state.recordedCount += count
            let isFull = state.recordedCount >= self.limits.batchMax
            if isFull { state.recordedCount %= self.limits.batchMax }
            switch state.timer {
            case .idle:
                state.timer = .running
                return (isFull, watcher.eventLoop)
            case .running, .runningAgain:
                state.timer = .runningAgain
                return (isFull, nil)
            }
        }
        if isFull { self.ring() }
        if let timerLoop { self.startTimer(on: timerLoop) }
    }

    private func startTimer(on eventLoop: any EventLoop) {
        // A little later than the delay, for the clock counts whole milliseconds.
        let delay = TimeAmount.milliseconds(Int64(self.limits.delayMilliseconds) + 5)
        eventLoop.scheduleTask(in: delay) {
            let isMore = self.state.withLock { state -> Bool in
                let isMore = state.timer == .runningAgain && !state.watchers.isEmpty
                state.timer = isMore ? .running : .idle
                return isMore
            }
            self.ring()
            if isMore { self.startTimer(on: eventLoop) }
        }
    }
}

/// A standing wish to be told of feedback.
public final class FeedbackWatch: Sendable {
    private let end: @Sendable () -> Void

    init(end: @escaping @Sendable () -> Void) {
        self.end = end
    }

    /// Ends the wish; called on any thread.
    public func cancel() {
        self.end()
    }
}
