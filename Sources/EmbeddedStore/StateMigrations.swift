// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import GRDB

/// The numbered steps that lead from an empty file to the present schema; a step that was released never changes.
enum StateMigrations {
    static var migrator: DatabaseMigrator {
        var migrator = DatabaseMigrator()
        migrator.registerMigration("1 identities, policies, subscriptions", migrate: self.identities)
        migrator.registerMigration("2 twins and their events", migrate: self.twins)
        migrator.registerMigration("3 commands and feedback", migrate: CommandSchema.create)
        migrator.registerMigration("4 who manages a module", migrate: self.moduleManagers)
        migrator.registerMigration("5 certificate authorities", migrate: self.certificateAuthorities)
        migrator.registerMigration("6 presences", migrate: EmbeddedPresenceStore.migrate)
        migrator.registerMigration("7 locks of commands whose loss counts", migrate: CommandSchema.addLossCounts)
        return migrator
    }

    private static func moduleManagers(_ database: Database) throws {
        try database.execute(sql: "ALTER TABLE identities ADD COLUMN managedBy TEXT")
    }

    private static func certificateAuthorities(_ database: Database) throws {
        try database.execute(
            sql: """
                CREATE TABLE certificateAuthorities (
                    name TEXT PRIMARY KEY,
                    etag TEXT NOT NULL,
                    certificate BLOB NOT NULL,
                    isVerified INTEGER NOT NULL,
                    verificationCode TEXT,
                    createdMilliseconds INTEGER NOT NULL,
                    updatedMilliseconds INTEGER NOT NULL
                ) STRICT;
                """
        )
    }

    private static func twins(_ database: Database) throws {
        try database.execute(
            sql: """
                -- An identity without a row has a fresh twin.
                CREATE TABLE twins (
                    device TEXT NOT NULL,
                    module TEXT NOT NULL,
                    version INTEGER NOT NULL,
                    etagNumber INTEGER NOT NULL,
                    tags TEXT NOT NULL,
                    desired TEXT NOT NULL,
                    desiredVersion INTEGER NOT NULL,
                    desiredStamps BLOB NOT NULL,
                    reported TEXT NOT NULL,
                    reportedVersion INTEGER NOT NULL,
                    reportedStamps BLOB NOT NULL,
                    PRIMARY KEY (device, module)
                ) STRICT;
                CREATE TRIGGER twinDeleted AFTER DELETE ON identities BEGIN
                    DELETE FROM twins WHERE device = OLD.device AND module = OLD.module;
                END;
                CREATE TRIGGER twinRenewed AFTER UPDATE OF generationID ON identities
                WHEN OLD.generationID <> NEW.generationID BEGIN
                    DELETE FROM twins WHERE device = OLD.device AND module = OLD.module;
                END;
                CREATE TABLE twinEvents (
                    position INTEGER PRIMARY KEY AUTOINCREMENT,
                    device TEXT NOT NULL,
                    module TEXT NOT NULL,
                    isReplacement INTEGER NOT NULL,
                    milliseconds INTEGER NOT NULL,
                    body TEXT NOT NULL
                ) STRICT;
                """
        )
    }

    private static func identities(_ database: Database) throws {
        try database.execute(
            sql: """
                CREATE TABLE identities (
                    device TEXT NOT NULL,
                    module TEXT NOT NULL,
                    generationID TEXT NOT NULL,
                    etag TEXT NOT NULL,
                    status TEXT NOT NULL,
                    statusReason TEXT,
                    statusUpdatedMilliseconds INTEGER,
                    authentication TEXT NOT NULL,
                    primaryKey TEXT,
                    secondaryKey TEXT,
                    primaryThumbprint TEXT,
                    secondaryThumbprint TEXT,
                    isEdge INTEGER NOT NULL,
                    deviceScope TEXT,
                    parentScopes TEXT NOT NULL,
                    PRIMARY KEY (device, module)
                ) WITHOUT ROWID, STRICT;
                -- Modules have a name, devices the empty one; lists of devices read this index only.
                CREATE INDEX devices ON identities (device) WHERE module = '';
                CREATE TABLE deviceCounts (
                    one INTEGER PRIMARY KEY CHECK (one = 1),
                    total INTEGER NOT NULL,
                    enabled INTEGER NOT NULL
                ) STRICT;
                INSERT INTO deviceCounts VALUES (1, 0, 0);
                CREATE TRIGGER deviceInserted AFTER INSERT ON identities WHEN NEW.module = '' BEGIN
                    UPDATE deviceCounts SET total = total + 1, enabled = enabled + (NEW.status = 'enabled');
                END;
                CREATE TRIGGER deviceDeleted AFTER DELETE ON identities WHEN OLD.module = '' BEGIN
                    UPDATE deviceCounts SET total = total - 1, enabled = enabled - (OLD.status = 'enabled');
                END;
                CREATE TRIGGER deviceUpdated AFTER UPDATE OF status ON identities
                WHEN NEW.module = '' AND OLD.status <> NEW.status BEGIN
                    UPDATE deviceCounts SET enabled = enabled + (NEW.status = 'enabled') - (OLD.status = 'enabled');
                END;
                CREATE TABLE policies (
                    name TEXT PRIMARY KEY,
                    primaryKey TEXT NOT NULL,
                    secondaryKey TEXT NOT NULL,
                    rights INTEGER NOT NULL
                ) WITHOUT ROWID, STRICT;
                CREATE TABLE subscriptions (
                    position INTEGER PRIMARY KEY AUTOINCREMENT,
                    device TEXT NOT NULL,
                    module TEXT NOT NULL,
                    filter TEXT NOT NULL,
                    qos INTEGER NOT NULL,
                    createdMilliseconds INTEGER NOT NULL,
                    UNIQUE (device, module, filter)
                ) STRICT;
                """
        )
    }
}
