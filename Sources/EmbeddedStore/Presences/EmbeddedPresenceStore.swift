// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import GRDB
public import HubModel

/// Presences in the state database.
public struct EmbeddedPresenceStore: PresenceStore {
    private let database: StateDatabase
    /// Tells this start of the hub from earlier ones.
    private let start: Int64

    /// Makes a store on a database; each that is made counts as a start of the hub.
    ///
    /// - Throws: `HubError` where the database fails
    public init(_ database: StateDatabase) throws {
        self.database = database
        do {
            self.start = try database.writer.write { database in
                try database.execute(sql: "UPDATE hubStarts SET number = number + 1")
                return try Int64.fetchOne(database, sql: "SELECT number FROM hubStarts") ?? 1
            }
        } catch {
            throw StoreError.hubError(error)
        }
    }

    /// Returns what is stored of some identities.
    public func presences(of ids: [IdentityID]) async throws -> [IdentityID: Presence] {
        let start = self.start
        do {
            return try await self.database.reader.read { database in
                let statement = try database.cachedStatement(
                    sql: """
                        SELECT isConnected AND start = ?, changedMilliseconds, lastActivityMilliseconds, modelID
                        FROM presences WHERE device = ? AND module = ?
                        """
                )
                var presences: [IdentityID: Presence] = [:]
                for id in ids {
                    let row = try Row.fetchOne(statement, arguments: [start, id.device, id.module ?? ""])
                    presences[id] = row.map { row in
                        Presence(
                            isConnected: row[0],
                            changedMilliseconds: row[1],
                            lastActivityMilliseconds: row[2],
                            modelID: row[3]
                        )
                    }
                }
                return presences
            }
        } catch {
            throw StoreError.hubError(error)
        }
    }

    /// Stores presences in one step.
    public func put(_ records: [PresenceRecord]) async throws {
        let start = self.start
        try await self.database.group.perform(.takes) { database in
            let statement = try database.cachedStatement(
                sql: """
                    INSERT INTO presences
                    SELECT device, module, ?, ?, ?, ?, ? FROM identities
                    WHERE device = ? AND module = ? AND generationID = ?
                    ON CONFLICT (device, module) DO UPDATE SET
                        start = excluded.start, isConnected = excluded.isConnected,
                        changedMilliseconds = excluded.changedMilliseconds,
                        lastActivityMilliseconds = excluded.lastActivityMilliseconds, modelID = excluded.modelID
                    """
            )
            for record in records {
                try statement.execute(
                    arguments: [
                        start, record.presence.isConnected, record.presence.changedMilliseconds,
                        record.presence.lastActivityMilliseconds, record.presence.modelID, record.id.device,
                        record.id.module ?? "", record.generationID,
                    ]
                )
            }
        }
    }

    static func migrate(_ database: Database) throws {
        try database.execute(
            sql: """
                CREATE TABLE presences (
                    device TEXT NOT NULL,
                    module TEXT NOT NULL,
                    -- Which start of the hub knew it.
                    start INTEGER NOT NULL,
                    isConnected INTEGER NOT NULL,
                    changedMilliseconds INTEGER NOT NULL,
                    lastActivityMilliseconds INTEGER NOT NULL,
                    modelID TEXT,
                    PRIMARY KEY (device, module)
                ) WITHOUT ROWID, STRICT;
                CREATE TRIGGER presenceDeleted AFTER DELETE ON identities BEGIN
                    DELETE FROM presences WHERE device = OLD.device AND module = OLD.module;
                END;
                CREATE TRIGGER presenceRenewed AFTER UPDATE OF generationID ON identities
                WHEN OLD.generationID <> NEW.generationID BEGIN
                    DELETE FROM presences WHERE device = OLD.device AND module = OLD.module;
                END;
                CREATE TABLE hubStarts (number INTEGER NOT NULL) STRICT;
                INSERT INTO hubStarts VALUES (0);
                """
        )
    }
}
