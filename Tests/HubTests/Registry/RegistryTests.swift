// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import EmbeddedStore
import HubModel
import Synchronization
import Testing

@testable import Hub

struct RegistryTests {
    /// A bus that keeps what it was told.
    private final class RecordingBus: HubBus {
        let signals = Mutex<[HubSignal]>([])

        func broadcast(_ signal: HubSignal) { self.signals.withLock { $0.append(signal) } }
        func listen(_ receive: @escaping @Sendable (HubSignal) -> Void) {}
        func take() -> [HubSignal] {
            self.signals.withLock { signals in
                defer { signals = [] }
                return signals
            }
        }
    }

    private let bus = RecordingBus()
    private let store: EmbeddedIdentityStore
    private let policies = PolicyTable([])
    private let registry: Registry

    init() throws {
        self.store = EmbeddedIdentityStore(try .inMemory(), limits: Limits())
        self.registry = Registry(
            identities: self.store,
            bus: self.bus,
            policies: self.policies,
            settings: AuthenticationSettings(),
            limits: Limits(),
            clock: HubClock { 1_700_000_000_000 }
        )
    }

    private func draft(_ device: String, _ change: (inout IdentityDraft) -> Void = { _ in }) -> IdentityDraft {
        var draft = IdentityDraft(id: IdentityID(device: device))
        change(&draft)
        return draft
    }

    private func code(_ body: () async throws -> some Sendable) async -> HubErrorCode? {
        do {
            _ = try await body()
            return nil
        } catch {
            return (error as? HubError)?.code
        }
    }

    static let key = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="
    static let otherKey = "ZmVkY2JhOTg3NjU0MzIxMGZlZGNiYTk4NzY1NDMyMTA="

    @Test func `rest_service 016 a new device gets two different keys of 32 bytes`() async throws {
        let device = try await self.registry.put(self.draft("d"), ifMatch: nil)
        #expect(device.authentication == .sas)
        #expect(device.status == .enabled)
        let keys = [device.symmetricKeys.primary, device.symmetricKeys.secondary].map { Base64.decode($0 ?? "") }
        #expect(keys[0]?.count == 32 && keys[1]?.count == 32 && keys[0] != keys[1])
        #expect(device.generationID.count == 18)
        #expect(try await self.registry.identity(device.id) == device)
    }

    @Test func `rest_service 017 given keys are kept and empty ones are made`() async throws {
        let device = try await self.registry.put(
            self.draft("d") { $0.symmetricKeys = CredentialPair(primary: Self.key, secondary: "") },
            ifMatch: nil
        )
        #expect(device.symmetricKeys.primary == Self.key)
        #expect(Base64.decode(device.symmetricKeys.secondary ?? "")?.count == 32)
    }

    @Test(arguments: [
        Base64.encode([UInt8](repeating: 1, count: 15)), Base64.encode([UInt8](repeating: 1, count: 65)), "not base64!",
        "QUJD",
        "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY",
    ])
    func `rest_service 018 keys that are none are refused`(_ key: String) async {
        let draft = self.draft("d") { $0.symmetricKeys.primary = key }
        #expect(await self.code { try await self.registry.put(draft, ifMatch: nil) } == .argumentInvalid)
    }

    @Test func `security 065 keys of public documents are refused`() async {
        let draft = self.draft("d") { $0.symmetricKeys.primary = SASVectors.device.primary }
        #expect(await self.code { try await self.registry.put(draft, ifMatch: nil) } == .argumentInvalid)
    }

    @Test func `rest_service 021 rest_service 022 creating needs absence and updating presence`() async throws {
        #expect(await self.code { try await self.registry.put(self.draft("d"), ifMatch: .any) } == .deviceNotFound)
        _ = try await self.registry.put(self.draft("d"), ifMatch: nil)
        #expect(await self.code { try await self.registry.put(self.draft("d"), ifMatch: nil) } == .deviceAlreadyExists)
    }

    @Test func `rest_service 023 rest_service 024 an entity tag changes with each change and guards it`() async throws {
        let first = try await self.registry.put(self.draft("d"), ifMatch: nil)
        let second = try await self.registry.put(self.draft("d"), ifMatch: .etags([first.etag]))
        #expect(second.etag != first.etag)
        #expect(second.generationID == first.generationID)
        #expect(
            await self.code { try await self.registry.put(self.draft("d"), ifMatch: .etags([first.etag])) }
                == .preconditionFailed
        )
        #expect(
            await self.code { try await self.registry.delete(first.id, ifMatch: .etags(["x"])) } == .preconditionFailed
        )
        _ = try await self.registry.put(self.draft("d"), ifMatch: .etags(["x", second.etag]))
        _ = try await self.registry.put(self.draft("d"), ifMatch: .any)
    }

    @Test(arguments: [
        ("*", IfMatch.any), ("\"*\"", .any), ("\"MQ==\"", .etags(["MQ=="])), ("MQ==", .etags(["MQ=="])),
        ("W/\"MQ==\"", .etags(["MQ=="])), ("\"a\", \"b\"", .etags(["a", "b"])),
    ])
    func `rest_service 023 If-Match is read as all clients spell it`(_ header: String, _ expected: IfMatch) {
        #expect(IfMatch(header: header) == expected)
        #expect(IfMatch(header: nil) == nil)
        #expect(IfMatch(header: "") == nil)
    }

    @Test func `rest_service 027 rest_service 028 a deleted device is gone and a new one is another`() async throws {
        let first = try await self.registry.put(self.draft("d"), ifMatch: nil)
        try await self.registry.delete(first.id, ifMatch: nil)
        #expect(await self.code { try await self.registry.identity(first.id) } == .deviceNotFound)
        #expect(await self.code { try await self.registry.delete(first.id, ifMatch: .any) } == .deviceNotFound)
        let second = try await self.registry.put(self.draft("d"), ifMatch: nil)
        #expect(second.generationID != first.generationID)
    }

    @Test func `rest_service 030 ids keep the documented set and length`() async throws {
        let legal = "-:.+%_#*?!(),=@;$'" + String(repeating: "a", count: 110)
        #expect(legal.count == 128)
        _ = try await self.registry.put(self.draft(legal), ifMatch: nil)
        for id in [legal + "a", "", "a/b", "a b", "é", "a\u{0}", "a\"", "a&b"] {
            #expect(await self.code { try await self.registry.put(self.draft(id), ifMatch: nil) } == .argumentInvalid)
            #expect(await self.code { try await self.registry.identity(IdentityID(device: id)) } == .argumentInvalid)
        }
    }

    @Test func `rest_service 032 a thumbprint without a type makes a self-signed device`() async throws {
        for (digits, isGood) in [(40, true), (64, true), (39, false), (41, false)] {
            let draft = self.draft("d\(digits)") {
                $0.thumbprints.primary = String(repeating: "aB", count: 40).prefix(digits) + ""
            }
            let outcome = await self.code { try await self.registry.put(draft, ifMatch: nil) }
            #expect(outcome == (isGood ? nil : .argumentInvalid))
            guard isGood else { continue }
            let device = try await self.registry.identity(draft.id)
            #expect(device.authentication == .selfSigned)
            #expect(device.symmetricKeys == CredentialPair())
        }
    }

    @Test func `rest_service 033 a device with a certificate authority has neither keys nor thumbprints`() async throws
    {
        let draft = self.draft("d") {
            $0.authentication = .certificateAuthority
            $0.symmetricKeys.primary = Self.key
        }
        let device = try await self.registry.put(draft, ifMatch: nil)
        #expect(device.symmetricKeys == CredentialPair() && device.thumbprints == CredentialPair())
    }

    @Test func `a self-signed device without a thumbprint and too long a reason are refused`() async {
        let bare = self.draft("d") { $0.authentication = .selfSigned }
        #expect(await self.code { try await self.registry.put(bare, ifMatch: nil) } == .argumentInvalid)
        let wordy = self.draft("d") { $0.statusReason = String(repeating: "x", count: 129) }
        #expect(await self.code { try await self.registry.put(wordy, ifMatch: nil) } == .argumentInvalid)
        // To Swift this is one character.
        let accents = self.draft("d") { $0.statusReason = "e" + String(repeating: "\u{301}", count: 128) }
        #expect(await self.code { try await self.registry.put(accents, ifMatch: nil) } == .argumentInvalid)
    }

    @Test func `free text is bounded, also in bulk calls, which take any scope`() async throws {
        let long = String(repeating: "x", count: 513)
        let drafts = [
            self.draft("a") { $0.deviceScope = long }, self.draft("b") { $0.parentScopes = [long] },
            self.draft("c") { $0.parentScopes = (0...100).map { "scope-\($0)" } },
        ]
        let errors = try await self.registry.apply(drafts.map { BulkItem(draft: $0, mode: .create) })
        #expect(errors.map { $0.error?.code } == [.argumentInvalid, .argumentInvalid, .argumentInvalid])
        let fitting = self.draft("d") { $0.deviceScope = String(long.dropLast()) }
        #expect(try await self.registry.apply([BulkItem(draft: fitting, mode: .create)]).map(\.error) == [nil])
        var module = IdentityDraft(id: IdentityID(device: "d", module: "m"))
        module.managedBy = long
        let wordy = module
        #expect(await self.code { try await self.registry.put(wordy, ifMatch: nil) } == .argumentInvalid)
    }

    @Test func `rest_service 034 the time of the status changes with the status only`() async throws {
        let made = try await self.registry.put(self.draft("d"), ifMatch: nil)
        #expect(made.statusUpdatedMilliseconds == nil)
        let disabled = try await self.registry.put(self.draft("d") { $0.status = .disabled }, ifMatch: .any)
        #expect(disabled.statusUpdatedMilliseconds == 1_700_000_000_000)
    }

    @Test func `security 038 disabling, deleting and changing the type revoke all connections`() async throws {
        let id = IdentityID(device: "d")
        let keys = CredentialPair(primary: Self.key, secondary: Self.otherKey)
        _ = try await self.registry.put(self.draft("d") { $0.symmetricKeys = keys }, ifMatch: nil)
        #expect(self.bus.take() == [])
        let disabled = self.draft("d") {
            $0.symmetricKeys = keys
            $0.status = .disabled
        }
        _ = try await self.registry.put(disabled, ifMatch: .any)
        #expect(self.bus.take() == [.identityRevoked(id, keeping: [])])
        _ = try await self.registry.put(self.draft("d") { $0.symmetricKeys = keys }, ifMatch: .any)
        #expect(self.bus.take() == [])
        _ = try await self.registry.put(self.draft("d") { $0.authentication = .certificateAuthority }, ifMatch: .any)
        #expect(self.bus.take() == [.identityRevoked(id, keeping: [])])
        try await self.registry.delete(id, ifMatch: .any)
        #expect(self.bus.take() == [.identityDeleted(id)])
    }

    @Test func `security 040 changing one key revokes what rests on it and keeps the other`() async throws {
        let id = IdentityID(device: "d")
        let keys = CredentialPair(primary: Self.key, secondary: Self.otherKey)
        _ = try await self.registry.put(self.draft("d") { $0.symmetricKeys = keys }, ifMatch: nil)
        _ = try await self.registry.put(
            self.draft("d") { $0.symmetricKeys = CredentialPair(secondary: Self.otherKey) },
            ifMatch: .any
        )
        #expect(self.bus.take() == [.identityRevoked(id, keeping: [.secondary])])
        _ = try await self.registry.put(self.draft("d"), ifMatch: .any)
        #expect(self.bus.take() == [.identityRevoked(id, keeping: [])])
    }

    @Test func `security 042 new policies are stored, in force and announced`() async throws {
        let policies = Registry.newPolicies()
        #expect(policies.map(\.name) == ["iothubowner", "service", "device", "registryRead", "registryReadWrite"])
        #expect(Set(policies.flatMap { [$0.primaryKey, $0.secondaryKey] }).count == 10)
        try await self.registry.setPolicies(policies)
        #expect(try await self.store.policies().count == 5)
        #expect(self.policies.policies.count == 5)
        #expect(self.bus.take() == [.policiesChanged])
        let bad = SharedAccessPolicy(name: "p", primaryKey: "short", secondaryKey: Self.key, rights: .registryRead)
        #expect(await self.code { try await self.registry.setPolicies([bad]) } == .argumentInvalid)
    }

    @Test func `rest_service 037 an edge device gets a scope and its system modules`() async throws {
        let edge = try await self.registry.put(self.draft("my-edge") { $0.isEdge = true }, ifMatch: nil)
        #expect(edge.deviceScope == "ms-azure-iot-edge://my-edge-\(edge.generationID)")
        for module in ["$edgeAgent", "$edgeHub"] {
            let identity = try await self.registry.identity(IdentityID(device: "my-edge", module: module))
            #expect(identity.authentication == .none)
        }
        let again = try await self.registry.put(self.draft("my-edge") { $0.isEdge = true }, ifMatch: .any)
        #expect(again.deviceScope == edge.deviceScope)
    }

    @Test func `rest_service 038 rest_service 039 rest_service 040 scopes name edge devices that exist`() async throws {
        let edge = try await self.registry.put(self.draft("edge") { $0.isEdge = true }, ifMatch: nil)
        let scope = try #require(edge.deviceScope)
        let leaf = try await self.registry.put(self.draft("leaf") { $0.deviceScope = scope }, ifMatch: nil)
        #expect(leaf.parentScopes == [scope])
        let random = self.draft("leaf") { $0.deviceScope = "6f6b1c2e" }
        #expect(await self.code { try await self.registry.put(random, ifMatch: .any) } == .invalidDeviceScope)
        let stale = self.draft("leaf") { $0.deviceScope = "ms-azure-iot-edge://edge-1" }
        #expect(await self.code { try await self.registry.put(stale, ifMatch: .any) } == .invalidDeviceScope)
        let detached = try await self.registry.put(self.draft("leaf") { $0.deviceScope = "" }, ifMatch: .any)
        #expect(detached.deviceScope == nil && detached.parentScopes == [])
        let child = self.draft("child") {
            $0.isEdge = true
            $0.parentScopes = [scope]
        }
        let made = try await self.registry.put(child, ifMatch: nil)
        #expect(made.deviceScope?.hasPrefix("ms-azure-iot-edge://child-") == true && made.parentScopes == [scope])
    }

    @Test func `rest_service 050 rest_service 053 items of a bulk call take effect by themselves`() async throws {
        let existing = try await self.registry.put(self.draft("b"), ifMatch: nil)
        let errors = try await self.registry.apply([
            BulkItem(draft: self.draft("a"), mode: .create), BulkItem(draft: self.draft("b"), mode: .create),
            BulkItem(draft: self.draft("c"), mode: .update), BulkItem(draft: self.draft("d"), mode: .createOrUpdate),
            BulkItem(draft: self.draft("e/e"), mode: .createOrUpdate), BulkItem(draft: self.draft("f"), mode: .delete),
        ])
        #expect(
            errors.map { $0.error?.code } == [
                nil, .deviceAlreadyExists, .deviceNotFound, nil, .argumentInvalid, .deviceNotFound,
            ]
        )
        #expect(try await self.registry.devices(top: nil).map(\.id.device) == ["a", "b", "d"])
        let stale = BulkItem(draft: self.draft("b"), mode: .update, ifMatch: .etags(["stale"]))
        #expect(try await self.registry.apply([stale]).map { $0.error?.code } == [.preconditionFailed])
        #expect(try await self.registry.identity(existing.id) == existing)
        let deletion = BulkItem(draft: self.draft("b"), mode: .delete, ifMatch: .etags([existing.etag]))
        #expect(try await self.registry.apply([deletion]).map(\.error) == [nil])
        #expect(self.bus.take() == [.identityDeleted(existing.id)])
    }

    @Test func `rest_service 051 too many items and the same one twice are refused`() async throws {
        let items = (0...100).map { BulkItem(draft: self.draft("d\($0)"), mode: .create) }
        #expect(await self.code { try await self.registry.apply(items) } == .quotaExceeded)
        #expect(await self.code { try await self.registry.apply([]) } == .argumentInvalid)
        #expect(await self.code { try await self.registry.apply([items[0], items[0]]) } == .deviceDefinedMultipleTimes)
        #expect(try await self.registry.devices(top: nil).isEmpty)
        #expect(try await self.registry.apply(Array(items.prefix(100))).allSatisfy { $0.error == nil })
    }

    @Test func `rest_service 054 a scope given in bulk is stored though no such edge device exists`() async throws {
        let item = BulkItem(draft: self.draft("d") { $0.deviceScope = "ms-azure-iot-edge://x-1" }, mode: .create)
        #expect(try await self.registry.apply([item]).map(\.error) == [nil])
        #expect(try await self.registry.identity(item.draft.id).deviceScope == "ms-azure-iot-edge://x-1")
    }

    @Test func `rest_service 035 a list holds at most top devices`() async throws {
        for id in ["b", "a", "c"] { _ = try await self.registry.put(self.draft(id), ifMatch: nil) }
        #expect(try await self.registry.devices(top: 2).map(\.id.device) == ["a", "b"])
        for top in [0, 1001, -1] {
            #expect(await self.code { try await self.registry.devices(top: top) } == .argumentInvalid)
        }
    }

    @Test func `concurrent updates that name no version all take effect`() async throws {
        _ = try await self.registry.put(self.draft("d"), ifMatch: nil)
        let registry = self.registry
        try await withThrowingTaskGroup { group in
            for _ in 0..<4 {
                group.addTask { _ = try await registry.put(IdentityDraft(id: IdentityID(device: "d")), ifMatch: .any) }
            }
            try await group.waitForAll()
        }
    }
}
