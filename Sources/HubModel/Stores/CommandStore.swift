// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

/// Keeps a queue of commands for each device, and the feedback that tells their senders how they ended.
///
/// A command waits or is locked until it ends, in exactly one way: completed, rejected, expired, given back too often,
/// or purged; or it goes with its device. The step that ends it writes its feedback record, where its sender asked for
/// one.
///
/// Guarantees: a step that was answered is durable; steps that wait at the same time are made durable together, each
/// succeeding or failing by itself. A step takes effect in the order of the calls of one thread, and `done` is called
/// once, on a thread of the store, in the order in which steps took effect; it must be short. It fails with a
/// ``HubError``: those named below, or what the store suffers. Locks that connections hold, and those of feedback, are
/// gone when the store is opened again; other locks stay.
public protocol CommandStore: Sendable {
    /// The answer to a step.
    typealias Answer<Value: Sendable> = @Sendable (Result<Value, HubError>) -> Void

    /// Puts a command at the end of its device's queue, with a sequence number above all that were given before.
    ///
    /// It belongs to the generation that the device has now, and goes when the device is deleted or gets another one.
    /// Fails with `.deviceNotFound`, and with `.deviceMaximumQueueDepthExceeded` where the device has as many commands
    /// as it may, those that are locked included and those that are over not.
    func enqueue(_ draft: CommandDraft, done: @escaping Answer<Command>)

    /// Locks the oldest commands that wait, in their order; those whose locks have timed out wait, and so do those that an
    /// older connection of the device holds: it is over, and has lost them.
    ///
    /// What is over is not locked but ends as expired. A device of another generation than the wanted one has none.
    func lockNext(_ request: CommandLockRequest, done: @escaping Answer<CommandLockResult>)

    /// Settles commands that are locked.
    ///
    /// Completed and rejected ones end. An abandoned one is counted and waits at its old place, or ends where it was
    /// given back as often as it may, and so does a lost one whose lock holds until its expiry. Any other lost one, and a
    /// released one, waits at its old place. Fails with `.messageLockLost` where a single lock has timed out, was settled
    /// before, is another device's, or never was; a connection's locks may be none.
    func settle(_ settlement: CommandSettlement, done: @escaping Answer<CommandChange>)

    /// Ends all commands of a device, those that are locked included.
    ///
    /// - Throws: `.deviceNotFound`
    func purge(_ device: String, atMilliseconds milliseconds: Int64) async throws -> CommandChange

    /// Counts the commands of devices, those that are locked included; devices without any may be left out.
    func counts(of devices: [String]) async throws -> [String: Int]

    /// Looks through all queues: unlocks what timed out, ends what is over and not locked, drops feedback that is over.
    ///
    /// Does at most `limit` of each, but that all feedback that timed out is unlocked. The oldest feedback is dropped where more waits than may.
    func sweep(atMilliseconds milliseconds: Int64, limit: Int) async throws -> CommandSweep

    /// Locks the oldest feedback that waits; nil where it does not make a batch yet, or where there is none.
    ///
    /// No two batches that are locked hold the same record. Records that are over are in none.
    func lockFeedback(_ request: FeedbackLockRequest, done: @escaping Answer<LockedFeedback?>)

    /// Settles a batch: completed and rejected ones go, abandoned ones are counted and wait at their old place, or go
    /// where they were given back as often as they may, released ones wait at their old place.
    ///
    /// Answers with how many records wait again. Fails with `.messageLockLost` where the lock has timed out, was
    /// settled before, or never was.
    func settleFeedback(
        _ token: LockToken,
        _ outcome: CommandOutcome,
        atMilliseconds milliseconds: Int64,
        done: @escaping Answer<Int>
    )
}

/// The store of a hub that offers no commands.
public struct NoCommands: CommandStore {
    private static let error = HubError(.notSupported, "This hub keeps no commands.")

    /// Makes one.
    public init() {}

    /// Fails: there are none.
    public func enqueue(_ draft: CommandDraft, done: @escaping Answer<Command>) { done(.failure(Self.error)) }

    /// Finds none.
    public func lockNext(_ request: CommandLockRequest, done: @escaping Answer<CommandLockResult>) {
        done(.success(CommandLockResult()))
    }

    /// Fails for a single lock: there are none.
    public func settle(_ settlement: CommandSettlement, done: @escaping Answer<CommandChange>) {
        switch settlement.locks {
        case .one: done(.failure(HubError(.messageLockLost, "The lock of the command is over.")))
        case .ofConnection: done(.success(CommandChange()))
        }
    }

    /// Fails: there are none.
    public func purge(_ device: String, atMilliseconds milliseconds: Int64) async throws -> CommandChange {
        throw Self.error
    }

    /// Counts none.
    public func counts(of devices: [String]) async throws -> [String: Int] { [:] }

    /// Finds nothing.
    public func sweep(atMilliseconds milliseconds: Int64, limit: Int) async throws -> CommandSweep {
        CommandSweep(change: CommandChange(), devices: [], hasFeedback: false, hasMore: false)
    }

    /// Finds none.
    public func lockFeedback(_ request: FeedbackLockRequest, done: @escaping Answer<LockedFeedback?>) {
        done(.success(nil))
    }

    /// Fails: there are none.
    public func settleFeedback(
        _ token: LockToken,
        _ outcome: CommandOutcome,
        atMilliseconds milliseconds: Int64,
        done: @escaping Answer<Int>
    ) { done(.failure(HubError(.messageLockLost, "The lock of the feedback is over."))) }
}
