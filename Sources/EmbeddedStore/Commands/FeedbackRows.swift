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

    func lock(_ request: FeedbackLockRequest) throws -> LockedFeedback? {
        try self.unlockTimedOut(atMilliseconds: request.milliseconds)
        try self.expire(atMilliseconds: request.milliseconds)
        let select = try self.database.cachedStatement(
            sql: """
                SELECT position, messageID, device, generationID, status, milliseconds, deliveryCount FROM feedback
                WHERE lockToken IS NULL ORDER BY position LIMIT ?
                """
        )
        let rows = try Row.fetchAll(select, arguments: [max(0, request.max)])
        guard let first = rows.first, let last = rows.last else { return nil }
        let oldest: Int64 = first[5]
        guard rows.count == request.max || oldest <= request.readyMilliseconds else { return nil }
        let token = LockToken()
        let lock = try self.database.cachedStatement(
            sql: """
                UPDATE feedback SET lockToken = ?, lockedUntilMilliseconds = ?
                WHERE position BETWEEN ? AND ? AND lockToken IS NULL
                """
        )
        let firstPosition: Int64 = first[0]
        let lastPosition: Int64 = last[0]
        try lock.execute(
            arguments: [Data(token.bytes), request.untilMilliseconds, firstPosition, lastPosition]
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
    /// Returns whether any record waits.
    func sweep(atMilliseconds milliseconds: Int64) throws -> Bool {
        try self.unlockTimedOut(atMilliseconds: milliseconds)
        try self.expire(atMilliseconds: milliseconds)
        try self.execute(
            "DELETE FROM feedback WHERE position <= (SELECT max(position) FROM feedback) - ?",
            [self.limits.recordsMax]
        )
        let probe = try self.database.cachedStatement(
            sql: "SELECT 1 FROM feedback WHERE lockToken IS NULL LIMIT 1"
        )
        return try Int.fetchOne(probe) != nil
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

    private func expire(atMilliseconds milliseconds: Int64) throws {
        try self.execute(
            "DELETE FROM feedback WHERE expiresMilliseconds <= ? AND lockToken IS NULL",
            [milliseconds]
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
