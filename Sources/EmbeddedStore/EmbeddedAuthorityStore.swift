// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import FoundationEssentials
import GRDB
public import HubModel

/// Certificate authorities in the state database.
public struct EmbeddedAuthorityStore: AuthorityStore {
    private let database: StateDatabase
    private let limits: Limits

    /// Makes a store on a database.
    public init(_ database: StateDatabase, limits: Limits) {
        self.database = database
        self.limits = limits
    }

    /// Returns an authority by its name, nil where there is none.
    public func authority(_ name: String) async throws -> CertificateAuthority? {
        try await self.read { try Self.authority(name, in: $0) }
    }

    /// Lists all authorities, ordered by name.
    public func authorities() async throws -> [CertificateAuthority] {
        try await self.read { database in
            try Row.fetchAll(database, sql: "SELECT \(Self.columns) FROM certificateAuthorities ORDER BY name")
                .map(Self.authority)
        }
    }

    /// Stores an authority.
    public func put(_ authority: CertificateAuthority, _ condition: WriteCondition) async throws {
        let max = self.limits.certificates.authoritiesMax
        try await self.database.group.perform(condition.makesNew ? .takes : .frees) { database in
            let before = try Self.authority(authority.name, in: database)
            try Self.check(condition, before)
            let count = try Int.fetchOne(database, sql: "SELECT count(*) FROM certificateAuthorities") ?? 0
            guard before != nil || count < max else {
                throw HubError(.quotaExceeded, "\(count) certificate authorities are registered, as many as may be.")
            }
            try database.execute(
                sql: "INSERT OR REPLACE INTO certificateAuthorities (\(Self.columns)) VALUES (?, ?, ?, ?, ?, ?, ?)",
                arguments: [
                    authority.name, authority.etag, Data(authority.certificate), authority.isVerified,
                    authority.verificationCode, authority.createdMilliseconds, authority.updatedMilliseconds,
                ]
            )
        }
    }

    /// Removes an authority.
    public func remove(_ name: String, _ condition: WriteCondition) async throws {
        try await self.database.group.perform(.frees) { database in
            let before = try Self.authority(name, in: database)
            guard before != nil else { throw Self.notFound }
            try Self.check(condition, before)
            try database.execute(sql: "DELETE FROM certificateAuthorities WHERE name = ?", arguments: [name])
        }
    }

    private static let columns =
        "name, etag, certificate, isVerified, verificationCode, createdMilliseconds, updatedMilliseconds"
    private static let notFound = HubError(.certificateNotFound, "There is no certificate authority of that name.")

    private static func check(_ condition: WriteCondition, _ before: CertificateAuthority?) throws(HubError) {
        switch (condition, before) {
        case (.always, _), (.absent, nil), (.present, .some): return
        case (.present, nil), (.matches, nil): throw self.notFound
        case (.absent, .some):
            throw HubError(.preconditionFailed, "There is a certificate authority of that name.")
        case (.matches(let etag), .some(let before)):
            guard before.etag == etag else {
                throw HubError(.preconditionFailed, "The entity tag is not the current one.")
            }
        }
    }

    private static func authority(_ name: String, in database: Database) throws -> CertificateAuthority? {
        try Row.fetchOne(
            database,
            sql: "SELECT \(self.columns) FROM certificateAuthorities WHERE name = ?",
            arguments: [name]
        ).map(self.authority)
    }

    private static func authority(_ row: Row) -> CertificateAuthority {
        let certificate: Data = row[2]
        return CertificateAuthority(
            name: row[0],
            etag: row[1],
            certificate: Array(certificate),
            isVerified: row[3],
            verificationCode: row[4],
            createdMilliseconds: row[5],
            updatedMilliseconds: row[6]
        )
    }

    private func read<Value: Sendable>(_ body: @escaping @Sendable (Database) throws -> Value) async throws -> Value {
        do {
            return try await self.database.reader.read(body)
        } catch {
            throw StoreError.hubError(error)
        }
    }
}
