// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import GRDB
import HubModel
import JSON
import NIOCore

/// Identities as rows: reading and writing single ones.
enum IdentityRows {
    private static let columns = """
        device, module, generationID, etag, status, statusReason, statusUpdatedMilliseconds, authentication,
        primaryKey, secondaryKey, primaryThumbprint, secondaryThumbprint, isEdge, deviceScope, parentScopes,
        managedBy
        """
    private static let select = "SELECT \(columns) FROM identities WHERE device = ? AND module = ?"

    static func identity(_ id: IdentityID, in database: Database) throws -> RegisteredIdentity? {
        let statement = try database.cachedStatement(sql: self.select)
        // Through the cursor: it reads the columns where they are, `fetchOne` a copy of all of them.
        let cursor = try Row.fetchCursor(statement, arguments: [id.device, id.module ?? ""])
        return try cursor.next().map(self.identity)
    }

    static func exists(_ id: IdentityID, in database: Database) throws -> Bool {
        let statement = try database.cachedStatement(
            sql: "SELECT 1 FROM identities WHERE device = ? AND module = ?"
        )
        return try Int.fetchOne(statement, arguments: [id.device, id.module ?? ""]) != nil
    }

    static func devices(after id: String?, limit: Int, in database: Database) throws -> [RegisteredIdentity] {
        let statement = try database.cachedStatement(
            sql: "SELECT \(self.columns) FROM identities WHERE module = '' AND device > ? ORDER BY device LIMIT ?"
        )
        return try Row.fetchAll(statement, arguments: [id ?? "", limit]).map(self.identity)
    }

    static func modules(of device: String, in database: Database) throws -> [RegisteredIdentity] {
        let statement = try database.cachedStatement(
            sql: "SELECT \(self.columns) FROM identities WHERE device = ? AND module <> '' ORDER BY module"
        )
        return try Row.fetchAll(statement, arguments: [device]).map(self.identity)
    }

    static func deviceCounts(in database: Database) throws -> (total: Int, enabled: Int) {
        guard let row = try Row.fetchOne(database, sql: "SELECT total, enabled FROM deviceCounts") else {
            throw HubError(.storageCorrupt, "The state database has lost its count of devices.")
        }
        return (row[0], row[1])
    }

    static func moduleCount(of device: String, in database: Database) throws -> Int {
        let statement = try database.cachedStatement(
            sql: "SELECT count(*) FROM identities WHERE device = ? AND module <> ''"
        )
        return try Int.fetchOne(statement, arguments: [device]) ?? 0
    }

    static func put(_ identity: RegisteredIdentity, in database: Database) throws {
        let statement = try database.cachedStatement(
            sql: """
                INSERT INTO identities (\(self.columns)) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
                ON CONFLICT (device, module) DO UPDATE SET
                    generationID = excluded.generationID, etag = excluded.etag, status = excluded.status,
                    statusReason = excluded.statusReason,
                    statusUpdatedMilliseconds = excluded.statusUpdatedMilliseconds,
                    authentication = excluded.authentication, primaryKey = excluded.primaryKey,
                    secondaryKey = excluded.secondaryKey, primaryThumbprint = excluded.primaryThumbprint,
                    secondaryThumbprint = excluded.secondaryThumbprint, isEdge = excluded.isEdge,
                    deviceScope = excluded.deviceScope, parentScopes = excluded.parentScopes,
                    managedBy = excluded.managedBy
                """
        )
        try statement.execute(
            arguments: [
                identity.id.device, identity.id.module ?? "", identity.generationID, identity.etag,
                identity.status.rawValue, identity.statusReason, identity.statusUpdatedMilliseconds,
                identity.authentication.rawValue, identity.symmetricKeys.primary, identity.symmetricKeys.secondary,
                identity.thumbprints.primary, identity.thumbprints.secondary, identity.isEdge, identity.deviceScope,
                self.text(identity.parentScopes), identity.managedBy,
            ]
        )
    }

    /// Removes an identity with its subscriptions, and with a device all its modules and theirs.
    static func remove(_ id: IdentityID, in database: Database) throws {
        if let module = id.module {
            try database.execute(
                sql: "DELETE FROM identities WHERE device = ? AND module = ?",
                arguments: [id.device, module]
            )
            return try self.removeSubscriptions(of: id, in: database)
        }
        try database.execute(sql: "DELETE FROM identities WHERE device = ?", arguments: [id.device])
        try database.execute(sql: "DELETE FROM subscriptions WHERE device = ?", arguments: [id.device])
    }

    static func removeSubscriptions(of id: IdentityID, in database: Database) throws {
        try database.execute(
            sql: "DELETE FROM subscriptions WHERE device = ? AND module = ?",
            arguments: [id.device, id.module ?? ""]
        )
    }

    private static func identity(_ row: Row) throws -> RegisteredIdentity {
        let module: String = row[1]
        guard let status = IdentityStatus(rawValue: row[4]), let authentication = AuthenticationType(rawValue: row[7])
        else { throw HubError(.storageCorrupt, "An identity in the state database has a status or type that is none.") }
        return RegisteredIdentity(
            id: IdentityID(device: row[0], module: module.isEmpty ? nil : module),
            generationID: row[2],
            etag: row[3],
            status: status,
            statusReason: row[5],
            statusUpdatedMilliseconds: row[6],
            authentication: authentication,
            symmetricKeys: CredentialPair(primary: row[8], secondary: row[9]),
            thumbprints: CredentialPair(primary: row[10], secondary: row[11]),
            isEdge: row[12],
            deviceScope: row[13],
            parentScopes: try self.strings(row[14]),
            managedBy: row[15]
        )
    }

    private static func text(_ strings: [String]) -> String {
        var writer = JSONWriter()
        writer.beginArray()
        for string in strings { writer.string(string) }
        writer.endArray()
        return String(buffer: writer.buffer)
    }

    private static func strings(_ text: String) throws -> [String] {
        guard text != "[]" else { return [] }
        return try JSONDocument(parsing: text).root.elements.compactMap(\.string)
    }
}
