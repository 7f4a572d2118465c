// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import EmbeddedStore
import HubModel
import Testing

/// One test for each sentence of `PresenceStore`'s documentation.
struct PresenceStoreTests {
    private let database: StateDatabase
    private let identities: any IdentityStore
    private let store: any PresenceStore
    private let device = IdentityID(device: "d")
    private let module = IdentityID(device: "d", module: "m")

    init() throws {
        self.database = try .inMemory()
        self.identities = EmbeddedIdentityStore(self.database, limits: Limits())
        self.store = try EmbeddedPresenceStore(self.database)
    }

    private func register(_ ids: IdentityID..., generation: String = "1") async throws {
        _ = try await self.identities.apply(
            ids.map { .put(RegisteredIdentity(id: $0, generationID: generation, etag: "e"), .always) }
        )
    }

    private func presence(_ time: Int64, isConnected: Bool = true) -> Presence {
        Presence(
            isConnected: isConnected,
            changedMilliseconds: time,
            lastActivityMilliseconds: time + 1,
            modelID: isConnected ? "dtmi:a;1" : nil
        )
    }

    @Test func `presences are returned as they were last stored, and none where there is none`() async throws {
        try await self.register(self.device, self.module)
        try await self.store.put([PresenceRecord(id: self.device, generationID: "1", presence: self.presence(1))])
        try await self.store.put([
            PresenceRecord(id: self.device, generationID: "1", presence: self.presence(5, isConnected: false))
        ])
        let stored = try await self.store.presences(of: [self.module, self.device, IdentityID(device: "x")])
        #expect(stored == [self.device: self.presence(5, isConnected: false)])
    }

    @Test func `a presence goes with its identity and a device's with those of its modules`() async throws {
        try await self.register(self.device, self.module)
        let records = [self.device, self.module].map {
            PresenceRecord(id: $0, generationID: "1", presence: self.presence(1))
        }
        try await self.store.put(records)
        _ = try await self.identities.apply([.delete(self.device, .present)])
        #expect(try await self.store.presences(of: [self.device, self.module]).isEmpty)
        try await self.store.put(records)
        #expect(try await self.store.presences(of: [self.device, self.module]).isEmpty)
    }

    @Test func `what belongs to another generation is neither kept nor stored`() async throws {
        try await self.register(self.device)
        let record = PresenceRecord(id: self.device, generationID: "1", presence: self.presence(1))
        try await self.store.put([record])
        try await self.register(self.device, generation: "2")
        #expect(try await self.store.presences(of: [self.device]).isEmpty)
        try await self.store.put([record])
        #expect(try await self.store.presences(of: [self.device]).isEmpty)
    }

    @Test func `what an earlier start stored as connected is disconnected`() async throws {
        try await self.register(self.device)
        try await self.store.put([PresenceRecord(id: self.device, generationID: "1", presence: self.presence(1))])
        #expect(try await self.store.presences(of: [self.device])[self.device] == self.presence(1))
        var expected = self.presence(1)
        expected.isConnected = false
        let later = try EmbeddedPresenceStore(self.database)
        #expect(try await later.presences(of: [self.device]) == [self.device: expected])
    }
}
