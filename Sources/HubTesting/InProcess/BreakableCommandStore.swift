// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

public import HubModel
import Synchronization

/// A command store that a test can make fail at handing out and settling commands.
public final class BreakableCommandStore: CommandStore {
    private struct State {
        var isBroken = false
        var locks = 0
        var settlements = 0
    }

    private let store: any CommandStore
    private let state = Mutex(State())

    /// Passes on to a store.
    public init(_ store: any CommandStore) {
        self.store = store
    }

    /// Whether it fails.
    public var isBroken: Bool {
        get { state.withLock { $0.isBroken } }
        set { state.withLock { $0.isBroken = newValue } }
    }

    /// How often it was asked for commands.
    public var locks: Int { state.withLock { $0.locks } }
    /// How often it was asked to settle one.
    public var settlements: Int { state.withLock { $0.settlements } }

    private static let error = HubError(.serviceUnavailable, "The test says so.")

    /// Passes on.
    public func enqueue(_ draft: CommandDraft, done: @escaping Answer<Command>) { store.enqueue(draft, done: done) }

    /// Passes on, or fails.
    public func lockNext(_ request: CommandLockRequest, done: @escaping Answer<CommandLockResult>) {
        let isBroken = state.withLock { state in
            state.locks += 1
            return state.isBroken
        }
        isBroken ? done(.failure(Self.error)) : store.lockNext(request, done: done)
    }

    /// Passes on, or fails.
    public func settle(_ settlement: CommandSettlement, done: @escaping Answer<CommandChange>) {
        let isBroken = state.withLock { state in
            state.settlements += 1
            return state.isBroken
        }
        isBroken ? done(.failure(Self.error)) : store.settle(settlement, done: done)
    }

    /// Passes on.
    public func purge(_ device: String, atMilliseconds milliseconds: Int64) async throws -> CommandChange {
        try await store.purge(device, atMilliseconds: milliseconds)
    }

    /// Passes on.
    public func counts(of devices: [String]) async throws -> [String: Int] { try await store.counts(of: devices) }

    /// Passes on.
    public func sweep(atMilliseconds milliseconds: Int64, limit: Int) async throws -> CommandSweep {
        try await store.sweep(atMilliseconds: milliseconds, limit: limit)
    }

    /// Passes on.
    public func lockFeedback(_ request: FeedbackLockRequest, done: @escaping Answer<LockedFeedback?>) {
        store.lockFeedback(request, done: done)
    }

    /// Passes on.
    public func settleFeedback(
        _ token: LockToken,
        _ outcome: CommandOutcome,
        atMilliseconds milliseconds: Int64,
        done: @escaping Answer<Int>
    ) { store.settleFeedback(token, outcome, atMilliseconds: milliseconds, done: done) }
}
