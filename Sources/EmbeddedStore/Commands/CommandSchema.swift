// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import GRDB

/// The tables of commands and feedback.
enum CommandSchema {
    static func addLossCounts(_ database: Database) throws {
        try database.execute(sql: "ALTER TABLE commands ADD COLUMN lossCounts INTEGER NOT NULL DEFAULT 0")
    }

    static func create(_ database: Database) throws {
        try database.execute(
            sql: """
                -- The position is the sequence number; AUTOINCREMENT never gives one twice.
                CREATE TABLE commands (
                    position INTEGER PRIMARY KEY AUTOINCREMENT,
                    device TEXT NOT NULL,
                    generationID TEXT NOT NULL,
                    enqueuedMilliseconds INTEGER NOT NULL,
                    expiresMilliseconds INTEGER NOT NULL,
                    deliveryCount INTEGER NOT NULL,
                    lockToken BLOB,
                    lockConnection INTEGER,
                    lockedUntilMilliseconds INTEGER,
                    wasLocked INTEGER NOT NULL DEFAULT 0,
                    messageID TEXT,
                    acknowledgement TEXT NOT NULL,
                    message BLOB NOT NULL
                ) STRICT;
                CREATE INDEX commandsOfDevice ON commands (device);
                CREATE INDEX commandExpiry ON commands (expiresMilliseconds);
                CREATE UNIQUE INDEX commandLocks ON commands (lockToken) WHERE lockToken IS NOT NULL;
                CREATE INDEX commandLockTimes ON commands (lockedUntilMilliseconds) WHERE lockToken IS NOT NULL;
                CREATE TABLE feedback (
                    position INTEGER PRIMARY KEY AUTOINCREMENT,
                    messageID TEXT NOT NULL,
                    device TEXT NOT NULL,
                    generationID TEXT NOT NULL,
                    status TEXT NOT NULL,
                    milliseconds INTEGER NOT NULL,
                    expiresMilliseconds INTEGER NOT NULL,
                    deliveryCount INTEGER NOT NULL,
                    lockToken BLOB,
                    lockedUntilMilliseconds INTEGER
                ) STRICT;
                CREATE INDEX feedbackOfDevice ON feedback (device);
                CREATE INDEX feedbackExpiry ON feedback (expiresMilliseconds);
                CREATE INDEX feedbackLocks ON feedback (lockToken) WHERE lockToken IS NOT NULL;
                CREATE INDEX feedbackWaiting ON feedback (position) WHERE lockToken IS NULL;
                CREATE TRIGGER commandsDeleted AFTER DELETE ON identities WHEN OLD.module = '' BEGIN
                    DELETE FROM commands WHERE device = OLD.device;
                    DELETE FROM feedback WHERE device = OLD.device;
                END;
                CREATE TRIGGER commandsRenewed AFTER UPDATE OF generationID ON identities
                WHEN OLD.module = '' AND OLD.generationID <> NEW.generationID BEGIN
                    DELETE FROM commands WHERE device = OLD.device;
                    DELETE FROM feedback WHERE device = OLD.device;
                END;
                """
        )
    }
}
