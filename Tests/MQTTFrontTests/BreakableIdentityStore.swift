// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import HubModel
import Synchronization

/// An identity store that a test can stop from storing subscriptions.
final class BreakableIdentityStore: IdentityStore {
    private let store: any IdentityStore
    private let isBroken = Mutex(false)

    init(_ store: any IdentityStore) {
        self.store = store
    }

    /// Fails every later change of subscriptions.
    func fail() {
        isBroken.withLock { $0 = true }
    }

    private func check() throws {
        if isBroken.withLock({ $0 }) { throw HubError(.storageFull, "The test says so.") }
    }

    func identity(_ id: IdentityID) async throws -> RegisteredIdentity? { try await store.identity(id) }

    func submit(_ steps: [IdentityStep], committed: @escaping @Sendable (StepsAnswer) -> Void) {
        store.submit(steps, committed: committed)
    }

    func devices(after id: String?, limit: Int) async throws -> [RegisteredIdentity] {
        try await store.devices(after: id, limit: limit)
    }

    func modules(of device: String) async throws -> [RegisteredIdentity] {
        try await store.modules(of: device)
    }

    func deviceCounts() async throws -> (total: Int, enabled: Int) { try await store.deviceCounts() }

    func policies() async throws -> [SharedAccessPolicy] { try await store.policies() }

    func setPolicies(_ policies: [SharedAccessPolicy]) async throws { try await store.setPolicies(policies) }

    func subscriptions(of id: IdentityID) async throws -> [SubscriptionFilter] {
        try await store.subscriptions(of: id)
    }

    func addSubscriptions(_ filters: [SubscriptionFilter], of id: IdentityID) async throws {
        try check()
        try await store.addSubscriptions(filters, of: id)
    }

    func removeSubscriptions(_ filters: [String]?, of id: IdentityID) async throws {
        try check()
        try await store.removeSubscriptions(filters, of: id)
    }
}
