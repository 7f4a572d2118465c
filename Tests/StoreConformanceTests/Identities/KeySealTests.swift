// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import EmbeddedStore
import FoundationEssentials
import HubModel
import Testing

/// Keys in the state database: encrypted with a key that is not in it.
@Suite struct KeySealTests {
    private let masterKey = [UInt8](repeating: 7, count: 32)
    private let device = RegisteredIdentity(
        id: IdentityID(device: "d1"),
        generationID: "1",
        etag: "e",
        symmetricKeys: CredentialPair(primary: "cHJpbWFyeSBrZXkgb2YgZDE=", secondary: "c2Vjb25kYXJ5IGtleSBvZiBkMQ==")
    )
    private let policy = SharedAccessPolicy(
        name: "service",
        primaryKey: "cHJpbWFyeSBrZXkgb2YgcG9saWN5",
        secondaryKey: "c2Vjb25kYXJ5IGtleSBvZiBwb2xpY3k=",
        rights: .serviceConnect
    )

    private func withFolder(_ body: (String) async throws -> Void) async throws {
        let folder = FileManager.default.temporaryDirectory.path + "/roost-seal-\(UUID().uuidString)"
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        do {
            try await body(folder)
        } catch {
            try FileManager.default.removeItem(atPath: folder)
            throw error
        }
        try FileManager.default.removeItem(atPath: folder)
    }

    private func fill(_ path: String, masterKey: [UInt8]?) async throws {
        let database = try StateDatabase(path: path, masterKey: masterKey)
        let store = EmbeddedIdentityStore(database, limits: Limits())
        _ = try await store.apply([.put(self.device, .absent)])
        try await store.setPolicies([self.policy])
        try database.close()
    }

    private func check(_ path: String) async throws {
        let database = try StateDatabase(path: path, masterKey: self.masterKey)
        let store = EmbeddedIdentityStore(database, limits: Limits())
        #expect(try await store.identity(self.device.id) == self.device)
        #expect(try await store.devices(after: nil, limit: 10) == [self.device])
        #expect(try await store.policies() == [self.policy])
        #expect(try await store.apply([.put(self.device, .always)]).first?.get() == self.device)
        try database.close()
    }

    private func keysFound(in path: String) throws -> [String] {
        let bytes = try Data(contentsOf: URL(filePath: path))
        let keys = [
            self.device.symmetricKeys.primary, self.device.symmetricKeys.secondary, self.policy.primaryKey,
            self.policy.secondaryKey,
        ]
        return keys.compactMap { $0 }.filter { bytes.firstRange(of: Data($0.utf8)) != nil }
    }

    @Test func `a database with a master key holds no key that can be read`() async throws {
        try await self.withFolder { folder in
            let path = folder + "/state.sqlite"
            try await self.fill(path, masterKey: self.masterKey)
            #expect(try self.keysFound(in: path).isEmpty)
            try await self.check(path)
        }
    }

    @Test func `keys that an older program left readable are encrypted at the first opening`() async throws {
        try await self.withFolder { folder in
            let path = folder + "/state.sqlite"
            try await self.fill(path, masterKey: nil)
            #expect(try self.keysFound(in: path).count == 4)
            try await self.check(path)
            #expect(try self.keysFound(in: path).isEmpty)
            try await self.check(path)
        }
    }

    @Test func `another master key is told of before anything is served`() async throws {
        try await self.withFolder { folder in
            let path = folder + "/state.sqlite"
            try await self.fill(path, masterKey: self.masterKey)
            #expect { try StateDatabase(path: path, masterKey: [UInt8](repeating: 8, count: 32)) } throws: {
                ($0 as? HubError)?.code == .storageCorrupt
            }
            try await self.check(path)
        }
    }
}
