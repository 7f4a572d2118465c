// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import HubModel
import NIOCore
import Synchronization

/// Commands in memory, of which a test decides who has a queue, when a command is durable, and what waits as feedback.
final class ScriptedCommandStore: CommandStore {
    struct State: Sendable {
        var devices: Set<String> = ["dev1"]
        var error: HubError?
        var drafts: [CommandDraft] = []
        var holdsAnswers = false
        var held: [@Sendable () -> Void] = []
        var feedback: [LockedFeedback] = []
        var locked: [LockToken: LockedFeedback] = [:]
        var settled: [CommandOutcome] = []
        var lockCount = 0
    }

    let state = Mutex(State())

    func enqueue(_ draft: CommandDraft, done: @escaping Answer<Command>) {
        let (error, number, isHeld) = state.withLock { state -> (HubError?, Int, Bool) in
            if let error = state.error { return (error, 0, state.holdsAnswers) }
            guard state.devices.contains(draft.device) else {
                return (HubError(.deviceNotFound, "There is no such device."), 0, state.holdsAnswers)
            }
            state.drafts.append(draft)
            return (nil, state.drafts.count, state.holdsAnswers)
        }
        let command = Command(
            device: draft.device,
            sequenceNumber: Int64(number),
            enqueuedMilliseconds: draft.milliseconds,
            expiresMilliseconds: draft.expiresMilliseconds,
            deliveryCount: 0,
            message: draft.message
        )
        let answer: @Sendable () -> Void = { done(error.map { .failure($0) } ?? .success(command)) }
        guard isHeld else { return answer() }
        state.withLock { $0.held.append(answer) }
    }

    /// Makes what was held durable.
    func release() {
        for answer in state.withLock({ state in
            defer { state.held.removeAll() }
            return state.held
        }) { answer() }
    }

    var bodies: [String] { state.withLock { $0.drafts.map { String(buffer: $0.message.body) } } }

    func lockNext(_ request: CommandLockRequest, done: @escaping Answer<CommandLockResult>) {
        done(.success(CommandLockResult()))
    }

    func settle(_ settlement: CommandSettlement, done: @escaping Answer<CommandChange>) {
        done(.success(CommandChange()))
    }

    func purge(_ device: String, atMilliseconds milliseconds: Int64) async throws -> CommandChange { CommandChange() }

    func counts(of devices: [String]) async throws -> [String: Int] { [:] }

    func sweep(atMilliseconds milliseconds: Int64, limit: Int) async throws -> CommandSweep {
        CommandSweep(change: CommandChange(), devices: [], hasFeedback: false, hasMore: false)
    }

    // MARK: Feedback

    /// Lets a batch wait.
    func addFeedback(_ ids: [String], status: FeedbackStatus = .success, at milliseconds: Int64 = 1_700_000_005_123) {
        let records = ids.map { id in
            FeedbackRecord(
                messageID: id,
                device: "dev1",
                generationID: "638300000000000000",
                status: status,
                milliseconds: milliseconds
            )
        }
        let batch = LockedFeedback(
            token: LockToken(),
            records: records,
            enqueuedMilliseconds: 1_700_000_000_000,
            sequenceNumber: 1,
            deliveryCount: 0
        )
        state.withLock { $0.feedback.append(batch) }
    }

    func lockFeedback(_ request: FeedbackLockRequest, done: @escaping Answer<LockedFeedback?>) {
        let batch = state.withLock { state -> LockedFeedback? in
            state.lockCount += 1
            guard !state.feedback.isEmpty else { return nil }
            let batch = state.feedback.removeFirst()
            state.locked[batch.token] = batch
            return batch
        }
        done(.success(batch))
    }

    func settleFeedback(
        _ token: LockToken,
        _ outcome: CommandOutcome,
        atMilliseconds milliseconds: Int64,
        done: @escaping Answer<Int>
    ) {
        let isKnown = state.withLock { state -> Bool in
            guard let batch = state.locked.removeValue(forKey: token) else { return false }
            state.settled.append(outcome)
            if outcome == .abandoned || outcome == .released { state.feedback.append(batch) }
            return true
        }
        guard isKnown else { return done(.failure(HubError(.messageLockLost, "The lock of the feedback is over."))) }
        done(.success(outcome == .abandoned || outcome == .released ? 1 : 0))
    }

    /// Ends all locks as time does.
    func loseLocks() { state.withLock { $0.locked.removeAll() } }

    var settled: [CommandOutcome] { state.withLock { $0.settled } }
}
