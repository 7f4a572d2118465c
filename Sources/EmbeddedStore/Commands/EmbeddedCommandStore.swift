// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import GRDB
public import HubModel
import JSON
import NIOCore

/// Queues of commands, and feedback, in the state database.
public struct EmbeddedCommandStore: CommandStore {
    private let database: StateDatabase
    private let limits: CommandLimits

    /// Makes a store on a database, and ends the locks that connections of an earlier process held.
    ///
    /// - Throws: `HubError`: what the database suffers
    public init(_ database: StateDatabase, limits: Limits) throws {
        self.database = database
        self.limits = limits.commands
        let limits = limits.commands
        do {
            try database.writer.write { database in
                try CommandRows(database: database, limits: limits).releaseAll()
                try FeedbackRows(limits, database).releaseAll()
            }
        } catch {
            throw StoreError.hubError(error)
        }
    }

    /// Puts a command at the end of its device's queue.
    public func enqueue(_ draft: CommandDraft, done: @escaping Answer<Command>) {
        self.submit(.takes, bytes: draft.message.size, done) { try $0.enqueue(draft) }
    }

    /// Locks the oldest commands that wait.
    public func lockNext(_ request: CommandLockRequest, done: @escaping Answer<CommandLockResult>) {
        self.submit(.frees, done) { try $0.lockNext(request) }
    }

    /// Settles commands that are locked.
    public func settle(_ settlement: CommandSettlement, done: @escaping Answer<CommandChange>) {
        self.submit(.frees, done) { try $0.settle(settlement) }
    }

    /// Ends all commands of a device.
    public func purge(_ device: String, atMilliseconds milliseconds: Int64) async throws -> CommandChange {
        let limits = self.limits
        return try await self.database.group.perform(.frees) {
            try CommandRows(database: $0, limits: limits).purge(device, atMilliseconds: milliseconds)
        }
    }

    /// Counts the commands of devices.
    public func counts(of devices: [String]) async throws -> [String: Int] {
        var writer = JSONWriter()
        writer.beginArray()
        for device in devices { writer.string(device) }
        writer.endArray()
        let text = String(buffer: writer.buffer)
        do {
            return try await self.database.reader.read { try CommandRows.counts(of: text, in: $0) }
        } catch {
            throw StoreError.hubError(error)
        }
    }

    /// Looks through all queues.
    public func sweep(atMilliseconds milliseconds: Int64, limit: Int) async throws -> CommandSweep {
        let limits = self.limits
        return try await self.database.group.perform(.frees) { database in
            let rows = CommandRows(database: database, limits: limits)
            let (unlocked, devices) = try rows.unlockTimedOut(atMilliseconds: milliseconds, limit: limit)
            let expired = try rows.expireAny(atMilliseconds: milliseconds, limit: limit)
            let feedback = try FeedbackRows(limits, database, dropsMax: limit).sweep(atMilliseconds: milliseconds)
            var change = unlocked
            change += expired
            return CommandSweep(
                change: change,
                devices: devices,
                hasFeedback: feedback.isWaiting,
                hasMore: unlocked.returnedCount == limit || expired.endedCount == limit || feedback.hasMore
            )
        }
    }

    /// Locks the oldest feedback that waits.
    public func lockFeedback(_ request: FeedbackLockRequest, done: @escaping Answer<LockedFeedback?>) {
        let limits = self.limits
        self.database.group.submit(.frees) {
            try FeedbackRows(limits, $0).lock(request)
        } done: {
            done($0.mapError(Self.hubError))
        }
    }

    /// Settles a batch of feedback.
    public func settleFeedback(
        _ token: LockToken,
        _ outcome: CommandOutcome,
        atMilliseconds milliseconds: Int64,
        done: @escaping Answer<Int>
    ) {
        let limits = self.limits
        self.database.group.submit(.frees) {
            try FeedbackRows(limits, $0).settle(token, outcome, atMilliseconds: milliseconds)
        } done: {
            done($0.mapError(Self.hubError))
        }
    }

    private func submit<Value: Sendable>(
        _ room: StepRoom,
        bytes: Int = 0,
        _ done: @escaping Answer<Value>,
        _ step: @escaping @Sendable (CommandRows) throws -> Value
    ) {
        let limits = self.limits
        self.database.group.submit(room, bytes: bytes) {
            try step(CommandRows(database: $0, limits: limits))
        } done: {
            done($0.mapError(Self.hubError))
        }
    }

    private static func hubError(_ error: any Error) -> HubError {
        StoreError.hubError(error) as? HubError
            ?? HubError(.internalError, "A step on a queue of commands failed for an unknown reason.")
    }
}
