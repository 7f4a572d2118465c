// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import FoundationEssentials
import GRDB
import HubModel
import NIOCore

/// Commands as rows: the parts of the steps on queues.
struct CommandRows {
    /// What holds of a command that is not locked, or whose lock has timed out; takes the time.
    private static let waits = "(lockToken IS NULL OR lockedUntilMilliseconds <= ?)"
    private static let unlocked = "lockToken = NULL, lockConnection = NULL, lockedUntilMilliseconds = NULL"

    let database: Database
    let limits: CommandLimits

    // MARK: Steps

    func enqueue(_ draft: CommandDraft) throws -> Command {
        let generationID = try self.generationID(of: draft.device)
        if try self.count(of: draft.device) >= self.limits.queueDepthMax {
            // This is taken back where the step fails: then nothing was over.
            _ = try self.expire(of: draft.device, atMilliseconds: draft.milliseconds)
            let count = try self.count(of: draft.device)
            guard count < self.limits.queueDepthMax else {
                throw HubError(
                    .deviceMaximumQueueDepthExceeded,
                    "The device '\(draft.device)' has \(count) commands waiting, which is as many as it may."
                )
            }
        }
        let statement = try self.database.cachedStatement(
            sql: """
                INSERT INTO commands (
                    device, generationID, enqueuedMilliseconds, expiresMilliseconds, deliveryCount, messageID,
                    acknowledgement, message
                ) VALUES (?, ?, ?, ?, 0, ?, ?, ?)
                """
        )
        try statement.execute(
            arguments: [
                draft.device, generationID, draft.milliseconds, draft.expiresMilliseconds, draft.message.messageID,
                draft.message.acknowledgement.rawValue, StoredMessage.data(draft.message),
            ]
        )
        return Command(
            device: draft.device,
            sequenceNumber: self.database.lastInsertedRowID,
            enqueuedMilliseconds: draft.milliseconds,
            expiresMilliseconds: draft.expiresMilliseconds,
            deliveryCount: 0,
            message: draft.message
        )
    }

    func lockNext(_ request: CommandLockRequest) throws -> CommandLockResult {
        var result = CommandLockResult()
        let connection = request.connectionNumber.map { Int64(bitPattern: $0) }
        result.change = try self.expire(
            of: request.device,
            before: connection,
            atMilliseconds: request.milliseconds
        )
        if let connection {
            result.change += try self.countLosses(
                of: request.device,
                before: connection,
                atMilliseconds: request.milliseconds
            )
        }
        let select = try self.database.cachedStatement(
            sql: """
                SELECT position, enqueuedMilliseconds, expiresMilliseconds, deliveryCount, messageID, acknowledgement,
                    message, wasLocked
                FROM commands
                WHERE device = ?1 AND (?2 IS NULL OR generationID = ?2)
                    AND (lockToken IS NULL OR lockedUntilMilliseconds <= ?3 OR lockConnection < ?5)
                ORDER BY position LIMIT ?4
                """
        )
        let found = try Row.fetchAll(
            select,
            arguments: [request.device, request.generationID, request.milliseconds, max(0, request.max), connection]
        ).map { (command: try self.command($0, of: request.device), wasLocked: $0[7] as Bool) }
        let lock = try self.database.cachedStatement(
            sql: """
                UPDATE commands
                SET lockToken = ?, lockConnection = ?, lockedUntilMilliseconds = ?, lossCounts = ?, wasLocked = 1
                WHERE position = ?
                """
        )
        for (command, wasLocked) in found {
            let token = LockToken()
            let until =
                request.holdsUntilExpiry
                ? max(request.untilMilliseconds, command.expiresMilliseconds) : request.untilMilliseconds
            try lock.execute(
                arguments: [
                    Data(token.bytes), connection, until, request.holdsUntilExpiry, command.sequenceNumber,
                ]
            )
            result.commands.append(LockedCommand(token: token, command: command, isRedelivery: wasLocked))
        }
        return result
    }

    func settle(_ settlement: CommandSettlement) throws -> CommandChange {
        let now = settlement.milliseconds
        let locks: [Row]
        switch settlement.locks {
        case .one(let token):
            let statement = try self.database.cachedStatement(
                sql: """
                    SELECT position, lossCounts FROM commands
                    WHERE lockToken = ? AND device = ? AND lockedUntilMilliseconds > ?
                    """
            )
            locks = try Row.fetchAll(statement, arguments: [Data(token.bytes), settlement.device, now])
            guard !locks.isEmpty else { throw HubError(.messageLockLost, "The lock of the command is over.") }
        case .ofConnection(let number):
            let statement = try self.database.cachedStatement(
                sql: "SELECT position, lossCounts FROM commands WHERE device = ? AND lockConnection = ?"
            )
            locks = try Row.fetchAll(statement, arguments: [settlement.device, Int64(bitPattern: number)])
        }
        var change = CommandChange()
        for lock in locks {
            let position: Int64 = lock[0]
            let lossCounts: Bool = lock[1]
            switch settlement.outcome {
            case .completed: change += try self.end("position = ?", [position], as: .success, now)
            case .rejected: change += try self.end("position = ?", [position], as: .rejected, now)
            case .abandoned: change += try self.abandon(position, now)
            case .lost where lossCounts: change += try self.abandon(position, now)
            case .released, .lost: change += try self.unlock("position = ?", [position])
            }
        }
        return change
    }

    func purge(_ device: String, atMilliseconds milliseconds: Int64) throws -> CommandChange {
        _ = try self.generationID(of: device)
        return try self.end("device = ?", [device], as: .purged, milliseconds)
    }

    // MARK: Looking through all

    /// Unlocks what timed out.
    ///
    /// Returns the devices that have such commands.
    func unlockTimedOut(atMilliseconds milliseconds: Int64, limit: Int) throws -> (CommandChange, devices: [String]) {
        let condition = """
            position IN (
                SELECT position FROM commands WHERE lockToken IS NOT NULL AND lockedUntilMilliseconds <= ?
                ORDER BY lockedUntilMilliseconds LIMIT ?
            )
            """
        let devices = try String.fetchAll(
            try self.database.cachedStatement(sql: "SELECT DISTINCT device FROM commands WHERE \(condition)"),
            arguments: [milliseconds, limit]
        )
        guard !devices.isEmpty else { return (CommandChange(), []) }
        return (try self.unlock(condition, [milliseconds, limit]), devices)
    }

    func expireAny(atMilliseconds milliseconds: Int64, limit: Int) throws -> CommandChange {
        try self.end(
            """
            position IN (
                SELECT position FROM commands WHERE expiresMilliseconds <= ? AND \(Self.waits)
                ORDER BY expiresMilliseconds LIMIT ?
            )
            """,
            [milliseconds, milliseconds, limit],
            as: .expired,
            milliseconds
        )
    }

    /// Unlocks what connections hold: there are none when the store is opened.
    func releaseAll() throws {
        try self.database.execute(
            sql: "UPDATE commands SET \(Self.unlocked) WHERE lockToken IS NOT NULL AND lockConnection IS NOT NULL"
        )
    }

    static func counts(of devicesJSON: String, in database: Database) throws -> [String: Int] {
        let statement = try database.cachedStatement(
            sql: """
                SELECT device, count(*) FROM commands WHERE device IN (SELECT value FROM json_each(?)) GROUP BY device
                """
        )
        return try Row.fetchAll(statement, arguments: [devicesJSON]).reduce(into: [:]) { $0[$1[0]] = $1[1] }
    }

    // MARK: Parts

    private func generationID(of device: String) throws -> String {
        let statement = try self.database.cachedStatement(
            sql: "SELECT generationID FROM identities WHERE device = ? AND module = ''"
        )
        guard let generationID = try String.fetchOne(statement, arguments: [device]) else {
            throw HubError(.deviceNotFound, "The device with ID '\(device)' was not found.")
        }
        return generationID
    }

    private func count(of device: String) throws -> Int {
        let statement = try self.database.cachedStatement(sql: "SELECT count(*) FROM commands WHERE device = ?")
        return try Int.fetchOne(statement, arguments: [device]) ?? 0
    }

    /// Ends what is over and waits, as a caller sees it for whom locks of connections before its own are over.
    private func expire(
        of device: String,
        before connection: Int64? = nil,
        atMilliseconds milliseconds: Int64
    ) throws -> CommandChange {
        try self.end(
            "device = ? AND expiresMilliseconds <= ? AND (\(Self.waits) OR lockConnection < ?)",
            [device, milliseconds, milliseconds, connection],
            as: .expired,
            milliseconds
        )
    }

    private func abandon(_ position: Int64, _ milliseconds: Int64) throws -> CommandChange {
        let statement = try self.database.cachedStatement(
            sql: """
                UPDATE commands SET deliveryCount = deliveryCount + 1, \(Self.unlocked) WHERE position = ?
                RETURNING deliveryCount
                """
        )
        guard let count = try Int.fetchAll(statement, arguments: [position]).first, count >= self.limits.deliveriesMax
        else { return CommandChange(returnedCount: 1) }
        return try self.end("position = ?", [position], as: .deliveryCountExceeded, milliseconds)
    }

    /// Counts what connections before a newer one were sent and did not settle, where that counts.
    private func countLosses(
        of device: String,
        before connection: Int64,
        atMilliseconds milliseconds: Int64
    ) throws -> CommandChange {
        let statement = try self.database.cachedStatement(
            sql: """
                UPDATE commands SET deliveryCount = deliveryCount + 1, \(Self.unlocked)
                WHERE device = ? AND lockConnection < ? AND lossCounts
                """
        )
        try statement.execute(arguments: [device, connection])
        guard self.database.changesCount > 0 else { return CommandChange() }
        return try self.end(
            "device = ? AND deliveryCount >= ? AND lockToken IS NULL",
            [device, self.limits.deliveriesMax],
            as: .deliveryCountExceeded,
            milliseconds
        )
    }

    private func unlock(_ condition: String, _ arguments: StatementArguments) throws -> CommandChange {
        let statement = try self.database.cachedStatement(
            sql: "UPDATE commands SET \(Self.unlocked) WHERE \(condition)"
        )
        try statement.execute(arguments: arguments)
        return CommandChange(returnedCount: self.database.changesCount)
    }

    /// Ends the commands of which a condition holds, and writes the feedback that their senders asked for.
    private func end(
        _ condition: String,
        _ arguments: StatementArguments,
        as status: FeedbackStatus,
        _ milliseconds: Int64
    ) throws -> CommandChange {
        let probe = try self.database.cachedStatement(
            sql: "SELECT max(acknowledgement <> 'none') FROM commands WHERE \(condition)"
        )
        guard let asks = try Int?.fetchOne(probe, arguments: arguments) ?? nil else { return CommandChange() }
        var change = CommandChange()
        if asks != 0 {
            let modes = FeedbackMode.allCases.filter { $0.asksFor(status) }.map { "'\($0.rawValue)'" }
            let insert = try self.database.cachedStatement(
                sql: """
                    INSERT INTO feedback (
                        messageID, device, generationID, status, milliseconds, expiresMilliseconds, deliveryCount
                    )
                    SELECT coalesce(messageID, ''), device, generationID, ?, ?, ?, 0 FROM commands
                    WHERE \(condition) AND acknowledgement IN (\(modes.joined(separator: ", "))) ORDER BY position
                    """
            )
            let values: StatementArguments = [
                status.rawValue, milliseconds, milliseconds + Int64(self.limits.feedback.ttlSeconds) * 1000,
            ]
            try insert.execute(arguments: values + arguments)
            change.feedbackCount = self.database.changesCount
        }
        let delete = try self.database.cachedStatement(sql: "DELETE FROM commands WHERE \(condition)")
        try delete.execute(arguments: arguments)
        change.endedCount = self.database.changesCount
        return change
    }

    private func command(_ row: Row, of device: String) throws -> Command {
        guard let mode = FeedbackMode(rawValue: row[5]),
            let message = StoredMessage.message(row[6], messageID: row[4], acknowledgement: mode)
        else { throw HubError(.storageCorrupt, "A command in the state database can't be read.") }
        return Command(
            device: device,
            sequenceNumber: row[0],
            enqueuedMilliseconds: row[1],
            expiresMilliseconds: row[2],
            deliveryCount: row[3],
            message: message
        )
    }
}
