// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import GRDB
public import HubModel
import NIOCore

/// Twins and their outbox in the state database.
public struct EmbeddedTwinStore: TwinStore {
    private let database: StateDatabase
    private let limits: TwinLimits

    /// Makes a store on a database.
    public init(_ database: StateDatabase, limits: Limits) {
        self.database = database
        self.limits = limits.twins
    }

    /// Returns a twin with its identity.
    public func twin(_ id: IdentityID) async throws -> TwinRecord {
        let rows = TwinRows(limits: self.limits)
        do {
            return try await self.database.reader.read { database in
                let identity = try Self.identity(id, generationID: nil, in: database)
                return TwinRecord(identity: identity, twin: try rows.twin(id, in: database))
            }
        } catch {
            throw StoreError.hubError(error)
        }
    }

    /// Carries out a step, together with the others that wait.
    public func submit(_ step: TwinStep, committed: @escaping @Sendable (Result<TwinCommit, HubError>) -> Void) {
        let limits = self.limits
        self.database.group.submit(.takes, bytes: step.change.textBytes) { database in
            try Self.apply(step, limits: limits, in: database)
        } done: { outcome in
            committed(
                outcome.mapError { error in
                    StoreError.hubError(error) as? HubError
                        ?? HubError(.internalError, "A change of a twin failed for an unknown reason.")
                }
            )
        }
    }

    /// Returns the oldest entries of the outbox.
    public func events(limit: Int) async throws -> [TwinEvent] {
        do {
            return try await self.database.reader.read { database in
                try Row.fetchAll(
                    database,
                    sql: """
                        SELECT position, device, module, isReplacement, milliseconds, body FROM twinEvents
                        ORDER BY position LIMIT ?
                        """,
                    arguments: [limit]
                ).map { row in
                    let module: String = row[2]
                    return TwinEvent(
                        position: row[0],
                        id: IdentityID(device: row[1], module: module.isEmpty ? nil : module),
                        isReplacement: row[3],
                        milliseconds: row[4],
                        body: ByteBuffer(string: row[5])
                    )
                }
            }
        } catch {
            throw StoreError.hubError(error)
        }
    }

    /// Removes all entries of the outbox up to a position.
    public func removeEvents(through position: Int64) async throws {
        try await self.database.group.perform(.frees) { database in
            try database.execute(sql: "DELETE FROM twinEvents WHERE position <= ?", arguments: [position])
        }
    }

    /// Carries out a step within a transaction.
    static func apply(_ step: TwinStep, limits: TwinLimits, in database: Database) throws -> TwinCommit {
        let rows = TwinRows(limits: limits)
        let identity = try self.identity(step.id, generationID: step.generationID, in: database)
        let update = try rows.twin(step.id, in: database).applying(
            step.change,
            ifMatch: step.ifMatch,
            atMilliseconds: step.milliseconds,
            limits: limits
        )
        guard !update.written.isEmpty else { return TwinCommit(identity: identity, update: update) }
        try rows.put(update.twin, in: database)
        if step.recordsEvent {
            try self.record(update, of: step, in: database)
        }
        return TwinCommit(identity: identity, update: update)
    }

    private static func record(_ update: TwinUpdate, of step: TwinStep, in database: Database) throws {
        let statement = try database.cachedStatement(
            sql: """
                INSERT INTO twinEvents (device, module, isReplacement, milliseconds, body) VALUES (?, ?, ?, ?, ?)
                """
        )
        try statement.execute(
            arguments: [
                step.id.device, step.id.module ?? "", step.change.isReplacement, step.milliseconds,
                String(buffer: try update.eventBody(of: step.change)),
            ]
        )
    }

    /// The identity, if it is there and of the wanted generation.
    private static func identity(
        _ id: IdentityID,
        generationID: String?,
        in database: Database
    ) throws -> RegisteredIdentity {
        if let identity = try IdentityRows.identity(id, in: database),
            generationID == nil || generationID == identity.generationID
        {
            return identity
        }
        let device = IdentityID(device: id.device)
        guard let module = id.module, try IdentityRows.exists(device, in: database) else {
            throw HubError(.deviceNotFound, "The device with ID '\(id.device)' was not found.")
        }
        throw HubError(.moduleNotFound, "The module with ID '\(module)' of device '\(id.device)' was not found.")
    }
}
