// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import EmbeddedStore
import FoundationEssentials
import HubModel
import Testing

struct StateDatabaseTests {
    private static func withFolder(_ body: (String) async throws -> Void) async throws {
        let folder = FileManager.default.temporaryDirectory.appending(path: "roost-state-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: folder) }
        try await body(folder.path)
    }

    private func device(_ id: String) -> RegisteredIdentity {
        RegisteredIdentity(id: IdentityID(device: id), generationID: "1", etag: "1")
    }

    @Test func `commits are synced before they return`() async throws {
        try await Self.withFolder { folder in
            let database = try StateDatabase(path: "\(folder)/hub.sqlite")
            #expect(try database.synchronousSetting() == 2)
            #expect(try database.journalMode() == "wal")
            try database.close()
            let relaxed = try StateDatabase(path: "\(folder)/hub.sqlite", durability: .os)
            #expect(try relaxed.synchronousSetting() == 1)
            try relaxed.close()
        }
    }

    @Test func `security 061 the files of the database are private`() async throws {
        try await Self.withFolder { folder in
            let database = try StateDatabase(path: "\(folder)/hub.sqlite")
            _ = try await EmbeddedIdentityStore(database, limits: Limits()).apply([.put(self.device("d"), .always)])
            for name in try FileManager.default.contentsOfDirectory(atPath: folder) {
                let attributes = try FileManager.default.attributesOfItem(atPath: "\(folder)/\(name)")
                #expect(
                    attributes[.posixPermissions] as? UInt16 == 0o600
                        || (attributes[.posixPermissions] as? Int) == 0o600,
                    "\(name)"
                )
            }
            try database.close()
        }
    }

    @Test func `what was stored is there after the database was opened again`() async throws {
        try await Self.withFolder { folder in
            let first = try StateDatabase(path: "\(folder)/hub.sqlite")
            _ = try await EmbeddedIdentityStore(first, limits: Limits()).apply([.put(self.device("d"), .always)])
            try first.close()
            let second = try StateDatabase(path: "\(folder)/hub.sqlite")
            #expect(try await EmbeddedIdentityStore(second, limits: Limits()).identity(self.device("d").id) != nil)
            try second.close()
        }
    }

    @Test func `a backup taken while the database serves holds what was stored`() async throws {
        try await Self.withFolder { folder in
            let database = try StateDatabase(path: "\(folder)/hub.sqlite")
            let store = EmbeddedIdentityStore(database, limits: Limits())
            _ = try await store.apply([.put(self.device("d"), .always)])
            try StateDatabase.backup("\(folder)/hub.sqlite", to: "\(folder)/copy.sqlite")
            _ = try await store.apply([.put(self.device("later"), .always)])
            let copy = try StateDatabase(path: "\(folder)/copy.sqlite")
            #expect(try await EmbeddedIdentityStore(copy, limits: Limits()).devices(after: nil, limit: 9).count == 1)
            try copy.close()
            try database.close()
        }
    }

    @Test func `a file that is no database is reported as damaged`() async throws {
        try await Self.withFolder { folder in
            try Data(repeating: 0x41, count: 8192).write(to: URL(filePath: "\(folder)/hub.sqlite"))
            #expect { try StateDatabase(path: "\(folder)/hub.sqlite") } throws: {
                ($0 as? HubError)?.code == .storageCorrupt
            }
        }
    }

    @Test func `more waiting steps than the limit are refused and the others are stored`() async throws {
        try await Self.withFolder { folder in
            var limits = StateDatabaseLimits()
            limits.waitingStepsMax = 1
            let database = try StateDatabase(path: "\(folder)/hub.sqlite", limits: limits)
            let store = EmbeddedIdentityStore(database, limits: Limits())
            let stored = await withTaskGroup(of: Int.self) { group in
                for number in 0..<200 {
                    group.addTask {
                        do {
                            _ = try await store.apply([.put(self.device("d\(number)"), .always)])
                            return 1
                        } catch {
                            #expect((error as? HubError)?.code == .serviceUnavailable)
                            return 0
                        }
                    }
                }
                return await group.reduce(0, +)
            }
            #expect(try await store.deviceCounts().total == stored)
            #expect(stored > 0)
            try database.close()
        }
    }
}
