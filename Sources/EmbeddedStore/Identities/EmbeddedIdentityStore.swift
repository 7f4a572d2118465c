// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import GRDB
public import HubModel

/// Identities, policies and subscriptions in the state database.
public struct EmbeddedIdentityStore: IdentityStore {
    private let database: StateDatabase
    private let limits: Limits

    /// Makes a store on a database.
    public init(_ database: StateDatabase, limits: Limits) {
        self.database = database
        self.limits = limits
    }

    /// Returns an identity, nil where there is none.
    public func identity(_ id: IdentityID) async throws -> RegisteredIdentity? {
        let seal = self.database.seal
        return try await self.read { try IdentityRows.identity(id, in: $0).map(seal.opened) }
    }

    /// Carries out steps together, with what else waits; each succeeds or fails by itself.
    public func submit(_ steps: [IdentityStep], committed: @escaping @Sendable (StepsAnswer) -> Void) {
        let writer = IdentityWriter(limits: self.limits, seal: self.database.seal)
        let bytes = steps.reduce(0) { $0 + ($1.twin?.change.textBytes ?? 0) }
        self.database.group.submit(steps.contains(where: \.makesNew) ? .takes : .frees, bytes: bytes) { database in
            try steps.map { try writer.apply($0, in: database) }
        } done: { outcome in
            committed(
                outcome.mapError { error in
                    StoreError.hubError(error) as? HubError
                        ?? HubError(.internalError, "A step on identities failed for an unknown reason.")
                }
            )
        }
    }

    /// Lists devices ordered by id, those after `id` only, at most `limit`.
    public func devices(after id: String?, limit: Int) async throws -> [RegisteredIdentity] {
        let seal = self.database.seal
        return try await self.read { try IdentityRows.devices(after: id, limit: limit, in: $0).map(seal.opened) }
    }

    /// Lists the modules of a device, ordered by id.
    public func modules(of device: String) async throws -> [RegisteredIdentity] {
        let seal = self.database.seal
        return try await self.read { try IdentityRows.modules(of: device, in: $0).map(seal.opened) }
    }

    /// Counts devices: all of them, and those that are enabled.
    public func deviceCounts() async throws -> (total: Int, enabled: Int) {
        try await self.read { try IdentityRows.deviceCounts(in: $0) }
    }

    /// Returns the shared access policies, ordered by name.
    public func policies() async throws -> [SharedAccessPolicy] {
        let seal = self.database.seal
        return try await self.read { try KeySeal.policies(in: $0).map(seal.opened) }
    }

    /// Replaces the shared access policies.
    public func setPolicies(_ policies: [SharedAccessPolicy]) async throws {
        let seal = self.database.seal
        try await self.database.group.perform(.frees) { database in
            try database.execute(sql: "DELETE FROM policies")
            let insert = try database.cachedStatement(sql: "INSERT INTO policies VALUES (?, ?, ?, ?)")
            for policy in try policies.map(seal.sealed) {
                try insert.execute(
                    arguments: [policy.name, policy.primaryKey, policy.secondaryKey, policy.rights.rawValue]
                )
            }
        }
    }

    /// Returns what the persistent session of an identity subscribed to, in the order of subscribing.
    public func subscriptions(of id: IdentityID) async throws -> [SubscriptionFilter] {
        try await self.read { database in
            let statement = try database.cachedStatement(
                sql: """
                    SELECT filter, qos, createdMilliseconds FROM subscriptions
                    WHERE device = ? AND module = ? ORDER BY position
                    """
            )
            return try Row.fetchAll(statement, arguments: [id.device, id.module ?? ""]).map { row in
                SubscriptionFilter(filter: row[0], qos: row[1], createdMilliseconds: row[2])
            }
        }
    }

    /// Adds subscriptions; one whose filter is held already replaces its quality of service and keeps its age.
    public func addSubscriptions(_ filters: [SubscriptionFilter], of id: IdentityID) async throws {
        try await self.database.group.perform(.takes) { database in
            guard try IdentityRows.exists(id, in: database) else { return }
            let statement = try database.cachedStatement(
                sql: """
                    INSERT INTO subscriptions (device, module, filter, qos, createdMilliseconds) VALUES (?, ?, ?, ?, ?)
                    ON CONFLICT (device, module, filter) DO UPDATE SET qos = excluded.qos
                    """
            )
            for filter in filters {
                try statement.execute(
                    arguments: [id.device, id.module ?? "", filter.filter, filter.qos, filter.createdMilliseconds]
                )
            }
        }
    }

    /// Removes subscriptions by filter; nil removes all.
    public func removeSubscriptions(_ filters: [String]?, of id: IdentityID) async throws {
        try await self.database.group.perform(.frees) { database in
            guard let filters else {
                return try IdentityRows.removeSubscriptions(of: id, in: database)
            }
            let statement = try database.cachedStatement(
                sql: "DELETE FROM subscriptions WHERE device = ? AND module = ? AND filter = ?"
            )
            for filter in filters {
                try statement.execute(arguments: [id.device, id.module ?? "", filter])
            }
        }
    }

    private func read<Value: Sendable>(_ body: @escaping @Sendable (Database) throws -> Value) async throws -> Value {
        do {
            return try await self.database.reader.read(body)
        } catch {
            throw StoreError.hubError(error)
        }
    }
}
