// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import FoundationEssentials
import GRDB
import HubModel

/// Feedback as rows: the parts of the steps on its queue.
struct FeedbackRows {
    private static let unlocked = "lockToken = NULL, lockedUntilMilliseconds = NULL"

    let database: Database
    let limits: FeedbackLimits
    /// How many records one step drops at most.
    let dropsMax: Int

    init(_ limits: CommandLimits, _ database: Database, dropsMax: Int? = nil) {
        self.database = database
        self.limits = limits.feedback
        self.dropsMax = dropsMax ?? limits.sweepStepMax
    }

    func lock(_ request: FeedbackLockRequest) throws -> LockedFeedback? {
        try self.unlockTimedOut(atMilliseconds: request.milliseconds)
        _ = try self.expire(atMilliseconds: request.milliseconds)
        let select = try self.database.cachedStatement(
            sql: """
                SELECT position, messageID, device, generationID, status, milliseconds, deliveryCount FROM feedback
                WHERE lockToken IS NULL AND expiresMilliseconds > ? ORDER BY position LIMIT ?
                """
        )
        let rows = try Row.fetchAll(select, arguments: [request.milliseconds, max(0, request.max)])
        guard let first = rows.first, let last = rows.last else { return nil }
        let oldest: Int64 = first[5]
        // One of the future was written before the clock was set back: it has waited.
        let isReady = oldest <= request.readyMilliseconds || oldest > request.milliseconds
        guard rows.count == request.max || isReady else { return nil }
        let token = LockToken()
        let lock = try self.database.cachedStatement(
            sql: """
                UPDATE feedback SET lockToken = ?, lockedUntilMilliseconds = ?
                WHERE position BETWEEN ? AND ? AND lockToken IS NULL AND expiresMilliseconds > ?
                """
        )
        let firstPosition: Int64 = first[0]
        let lastPosition: Int64 = last[0]
        try lock.execute(
            arguments: [
                Data(token.bytes), request.untilMilliseconds, firstPosition, lastPosition, request.milliseconds,
            ]
        )
        return LockedFeedback(
            token: token,
            records: try rows.map(self.record),
            enqueuedMilliseconds: last[5],
            sequenceNumber: lastPosition,
            deliveryCount: first[6]
        )
    }

    /// Settles a batch.
    ///
    /// Returns how many records wait again.
    func settle(_ token: LockToken, _ outcome: CommandOutcome, atMilliseconds milliseconds: Int64) throws -> Int {
        let data = Data(token.bytes)
        let probe = try self.database.cachedStatement(
            sql: "SELECT 1 FROM feedback WHERE lockToken = ? AND lockedUntilMilliseconds > ?"
        )
        guard try Int.fetchOne(probe, arguments: [data, milliseconds]) != nil else {
            throw HubError(.messageLockLost, "The lock of the feedback is over.")
        }
        switch outcome {
        case .completed, .rejected:
            try self.execute("DELETE FROM feedback WHERE lockToken = ?", [data])
            return 0
        case .abandoned:
            try self.execute(
                "DELETE FROM feedback WHERE lockToken = ? AND deliveryCount + 1 >= ?",
                [data, self.limits.deliveriesMax]
            )
            return try self.execute(
                "UPDATE feedback SET deliveryCount = deliveryCount + 1, \(Self.unlocked) WHERE lockToken = ?",
                [data]
            )
        case .released, .lost:
            return try self.execute("UPDATE feedback SET \(Self.unlocked) WHERE lockToken = ?", [data])
        }
    }

    /// Unlocks what timed out, drops what is over and what is too much.
    ///
    /// Returns whether any record waits, and whether there may be more to drop.
    func sweep(atMilliseconds milliseconds: Int64) throws -> (isWaiting: Bool, hasMore: Bool) {
        try self.unlockTimedOut(atMilliseconds: milliseconds)
        let expired = try self.expire(atMilliseconds: milliseconds)
        let trimmed = try self.execute(
            """
            DELETE FROM feedback WHERE position IN (
                SELECT position FROM feedback
                WHERE position <= (SELECT max(position) FROM feedback) - ? ORDER BY position LIMIT ?
            )
            """,
            [self.limits.recordsMax, self.dropsMax]
        )
        let probe = try self.database.cachedStatement(
            sql: "SELECT 1 FROM feedback WHERE lockToken IS NULL LIMIT 1"
        )
        return (try Int.fetchOne(probe) != nil, max(expired, trimmed) >= self.dropsMax)
    }

    /// Unlocks all: there are no readers when the store is opened.
    func releaseAll() throws {
        try self.execute("UPDATE feedback SET \(Self.unlocked) WHERE lockToken IS NOT NULL", [])
    }

    private func unlockTimedOut(atMilliseconds milliseconds: Int64) throws {
        try self.execute(
            "UPDATE feedback SET \(Self.unlocked) WHERE lockToken IS NOT NULL AND lockedUntilMilliseconds <= ?",
            [milliseconds]
        )
    }

    private func expire(atMilliseconds milliseconds: Int64) throws -> Int {
        try self.execute(
            """
            DELETE FROM feedback WHERE position IN (
                SELECT position FROM feedback WHERE expiresMilliseconds <= ? AND lockToken IS NULL
                ORDER BY expiresMilliseconds LIMIT ?
            )
            """,
            [milliseconds, self.dropsMax]
        )
    }

    @discardableResult
    private func execute(_ sql: String, _ arguments: StatementArguments) throws -> Int {
        try self.database.cachedStatement(sql: sql).execute(arguments: arguments)
        return self.database.changesCount
    }

    private func record(_ row: Row) throws -> FeedbackRecord {
        guard let status = FeedbackStatus(rawValue: row[4]) else {
            throw HubError(.storageCorrupt, "A feedback record in the state database has a status that is none.")
        }
        return FeedbackRecord(
            messageID: row[1],
            device: row[2],
            generationID: row[3],
            status: status,
            milliseconds: row[5]
        )
    }
}
