// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

public import HubModel
public import NIOCore

/// Takes commands for devices, and hands them out to the devices' sessions.
///
/// The queue belongs to the device: it lasts while the device is away, and whichever connection asks gets what waits.
public struct Commands: Sendable {
    private let store: any CommandStore
    private let directory: Directory
    private let feedback: Feedback
    private let limits: CommandLimits
    private let clock: HubClock
    private let metrics: HubMetrics

    init(
        store: any CommandStore,
        directory: Directory,
        feedback: Feedback,
        limits: CommandLimits,
        clock: HubClock,
        metrics: HubMetrics
    ) {
        self.store = store
        self.directory = directory
        self.feedback = feedback
        self.limits = limits
        self.clock = clock
        self.metrics = metrics
    }

    // MARK: Back ends

    /// Puts a command into the queue of a device; completes on the loop when it is durable.
    ///
    /// Commands take their places in the order of the calls of one loop, and their calls complete in that order, but
    /// that refusals may come sooner. Fails with a ``HubError``: `.messageTooLarge`, `.argumentInvalid`,
    /// `.invalidMessageExpiryTime`, `.deviceNotFound`, `.deviceMaximumQueueDepthExceeded`, or what the store suffers.
    public func send(
        _ message: CommandMessage,
        to device: String,
        on eventLoop: any EventLoop
    ) -> EventLoopFuture<Void> {
        let draft: CommandDraft
        do throws(HubError) {
            draft = try self.draft(message, for: device)
        } catch {
            return eventLoop.makeFailedFuture(error)
        }
        let promise = eventLoop.makePromise(of: Void.self)
        let commands = self
        self.store.enqueue(draft) { outcome in
            if case .success = outcome {
                commands.metrics.commandsIn.add()
                commands.ring(device)
            }
            promise.completeWith(outcome.map { _ in }.mapError { $0 })
        }
        return promise.futureResult
    }

    /// Ends all commands of a device, and returns how many there were.
    ///
    /// - Throws: `HubError`: `.deviceNotFound`, or what the store suffers
    public func purge(_ device: String) async throws -> Int {
        let change = try await self.store.purge(device, atMilliseconds: self.clock.milliseconds)
        self.noted(change)
        return change.endedCount
    }

    /// How many commands wait for an identity, those that are locked included; modules have none.
    public func pendingCount(of id: IdentityID) async throws -> Int {
        guard id.module == nil else { return 0 }
        return try await self.store.counts(of: [id.device])[id.device] ?? 0
    }

    private func draft(_ message: CommandMessage, for device: String) throws(HubError) -> CommandDraft {
        guard message.size <= self.limits.messageSizeMax else {
            throw HubError(
                .messageTooLarge,
                "The command has \(message.size) bytes; a command has at most \(self.limits.messageSizeMax)."
            )
        }
        guard message.messageID?.count ?? 0 <= CommandLimits.messageIDLengthMax else {
            throw HubError(
                .argumentInvalid,
                "The id of a message has at most \(CommandLimits.messageIDLengthMax) characters."
            )
        }
        let now = self.clock.milliseconds
        let expires = message.expiresMilliseconds ?? now + Int64(self.limits.defaultTTLSeconds) * 1000
        guard expires > now else {
            throw HubError(.invalidMessageExpiryTime, "The command's expiry is past.")
        }
        guard expires <= now + Int64(max(self.limits.ttlSecondsMax, self.limits.defaultTTLSeconds)) * 1000 else {
            throw HubError(
                .invalidMessageExpiryTime,
                "The command's expiry is more than \(self.limits.ttlSecondsMax) seconds ahead."
            )
        }
        return CommandDraft(device: device, message: message, expiresMilliseconds: expires, milliseconds: now)
    }

    // MARK: Devices

    /// Locks the next commands of a device that is connected; answers on a thread of the store.
    func lockNext(
        max: Int,
        holdsUntilExpiry: Bool,
        of identity: AuthenticatedIdentity,
        connectionNumber: UInt64,
        answer: @escaping @Sendable (Result<[LockedCommand], HubError>) -> Void
    ) {
        let now = self.clock.milliseconds
        let request = CommandLockRequest(
            device: identity.id.device,
            generationID: identity.generationID,
            connectionNumber: connectionNumber,
            max: max,
            untilMilliseconds: now + Int64(self.limits.lockSeconds) * 1000,
            holdsUntilExpiry: holdsUntilExpiry,
            milliseconds: now
        )
        let commands = self
        self.store.lockNext(request) { outcome in
            if case .success(let result) = outcome {
                commands.metrics.commandsOut.add(result.commands.count)
                commands.noted(result.change)
            }
            answer(outcome.map(\.commands))
        }
    }

    /// Settles one command that is locked; answers on a thread of the store.
    func settle(
        _ token: LockToken,
        _ outcome: CommandOutcome,
        of device: String,
        answer: @escaping @Sendable (Result<Void, HubError>) -> Void
    ) {
        self.settle(.one(token), outcome, of: device, answer: answer)
    }

    /// Gives back what a connection that ended has locked; `outcome` is `.lost`, or `.released` where the hub stops.
    func giveBack(_ outcome: CommandOutcome, connectionNumber: UInt64, of device: String) {
        // Where the store can't do it, the locks time out.
        self.settle(.ofConnection(connectionNumber), outcome, of: device) { _ in }
    }

    private func settle(
        _ locks: CommandLocks,
        _ outcome: CommandOutcome,
        of device: String,
        answer: @escaping @Sendable (Result<Void, HubError>) -> Void
    ) {
        let settlement = CommandSettlement(
            device: device,
            locks: locks,
            outcome: outcome,
            milliseconds: self.clock.milliseconds
        )
        let commands = self
        self.store.settle(settlement) { result in
            if case .success(let change) = result {
                commands.noted(change)
                if change.returnedCount > 0 { commands.ring(device) }
            }
            answer(result.map { _ in })
        }
    }

    // MARK: Time

    /// Looks once through all queues for what is over.
    ///
    /// Returns whether there may be more to do at once.
    func sweep() async throws -> Bool {
        let sweep = try await self.store.sweep(
            atMilliseconds: self.clock.milliseconds,
            limit: self.limits.sweepStepMax
        )
        self.noted(sweep.change)
        for device in sweep.devices { self.ring(device) }
        // Here, because what a reader did not settle in time waits again without having been recorded anew.
        if sweep.hasFeedback { self.feedback.ring() }
        return sweep.hasMore
    }

    private func noted(_ change: CommandChange) {
        self.metrics.commandsEnded.add(change.endedCount)
        if change.feedbackCount > 0 { self.feedback.recorded(change.feedbackCount) }
    }

    /// Tells the device's connection, if it has one that takes commands; called from the store in the order of commits.
    private func ring(_ device: String) {
        self.directory.link(of: IdentityID(device: device), wanting: .commands)?.link.deliver(.commandsWaiting)
    }
}
