// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import EmbeddedStore
import HubModel
import NIOCore
import Testing

/// One test for each sentence of `IdentityStore`'s documentation.
struct IdentityStoreTests {
    /// What became of a write, without the error's text.
    private enum Outcome: Equatable {
        case success(RegisteredIdentity?)
        case failure(HubErrorCode)
    }

    private let store: any IdentityStore

    init() throws {
        self.store = EmbeddedIdentityStore(try .inMemory(), limits: Limits())
    }

    private func document(_ device: String, _ module: String? = nil, etag: String = "1") -> RegisteredIdentity {
        RegisteredIdentity(
            id: IdentityID(device: device, module: module),
            generationID: "638763212345678901",
            etag: etag,
            status: .disabled,
            statusReason: "\u{1F600} 'quoted'",
            statusUpdatedMilliseconds: 1_700_000_000_123,
            authentication: .selfSigned,
            symmetricKeys: CredentialPair(primary: "p", secondary: nil),
            thumbprints: CredentialPair(primary: nil, secondary: "AB:CD"),
            isEdge: true,
            deviceScope: "scope-1",
            parentScopes: ["scope-2", "with \"quotes\""],
            managedBy: "edge"
        )
    }

    private func put(
        _ identity: RegisteredIdentity,
        _ condition: WriteCondition = .always
    ) async throws -> Outcome {
        try await self.apply([.put(identity, condition)])[0]
    }

    private func apply(_ writes: [IdentityWrite]) async throws -> [Outcome] {
        try await self.store.apply(writes).map { outcome in
            switch outcome {
            case .success(let before): .success(before)
            case .failure(let error): .failure(error.code)
            }
        }
    }

    @Test func `an identity is returned as it was stored`() async throws {
        let device = self.document("dev1")
        #expect(try await self.put(device) == .success(nil))
        #expect(try await self.store.identity(device.id) == device)
        let plain = RegisteredIdentity(id: IdentityID(device: "dev2"), generationID: "2", etag: "2")
        _ = try await self.put(plain)
        #expect(try await self.store.identity(plain.id) == plain)
    }

    @Test func `nil is returned where there is no identity and ids are case-sensitive`() async throws {
        _ = try await self.put(self.document("dev1"))
        #expect(try await self.store.identity(IdentityID(device: "DEV1")) == nil)
        #expect(try await self.store.identity(IdentityID(device: "dev1", module: "m")) == nil)
    }

    @Test func `modules are listed by the bytes of their ids and without their device`() async throws {
        for module in [nil, "b", "B", "a"] { _ = try await self.put(self.document("dev1", module)) }
        _ = try await self.put(self.document("dev10"))
        _ = try await self.put(self.document("dev10", "c"))
        #expect(try await self.store.modules(of: "dev1").map(\.id.module) == ["B", "a", "b"])
        #expect(try await self.store.modules(of: "dev1").first == self.document("dev1", "B"))
        #expect(try await self.store.modules(of: "dev2").isEmpty)
    }

    @Test func `each write of a step succeeds or fails by itself and is answered in order`() async throws {
        _ = try await self.put(self.document("b", etag: "old"))
        let outcomes = try await self.apply([
            .put(self.document("a"), .absent), .put(self.document("b"), .absent),
            .delete(IdentityID(device: "x"), .present),
            .put(self.document("b", etag: "new"), .matches(etag: "old")),
            .delete(IdentityID(device: "b"), .matches(etag: "old")),
        ])
        #expect(
            outcomes == [
                .success(nil), .failure(.deviceAlreadyExists), .failure(.deviceNotFound),
                .success(self.document("b", etag: "old")), .failure(.preconditionFailed),
            ]
        )
        #expect(try await self.store.identity(IdentityID(device: "b"))?.etag == "new")
    }

    @Test func `each condition of a put holds as it says`() async throws {
        let device = self.document("d")
        #expect(try await self.put(device, .present) == .failure(.deviceNotFound))
        #expect(try await self.put(device, .matches(etag: "1")) == .failure(.deviceNotFound))
        #expect(try await self.put(device, .absent) == .success(nil))
        #expect(try await self.put(device, .absent) == .failure(.deviceAlreadyExists))
        #expect(try await self.put(device, .present) == .success(device))
        #expect(try await self.put(device, .matches(etag: "1")) == .success(device))
        #expect(try await self.put(device, .matches(etag: "2")) == .failure(.preconditionFailed))
        #expect(try await self.put(device, .always) == .success(device))
    }

    @Test func `each condition of a removal holds as it says`() async throws {
        let device = self.document("d")
        let id = device.id
        #expect(try await self.apply([.delete(id, .always)]) == [.success(nil)])
        #expect(try await self.apply([.delete(id, .matches(etag: "1"))]) == [.failure(.deviceNotFound)])
        _ = try await self.put(device)
        #expect(try await self.apply([.delete(id, .matches(etag: "2"))]) == [.failure(.preconditionFailed)])
        #expect(try await self.apply([.delete(id, .matches(etag: "1"))]) == [.success(device)])
        #expect(try await self.store.identity(id) == nil)
    }

    @Test func `a module needs its device and is named in its errors`() async throws {
        let module = self.document("d", "m")
        #expect(try await self.put(module) == .failure(.deviceNotFound))
        _ = try await self.put(self.document("d"))
        #expect(try await self.put(module, .present) == .failure(.moduleNotFound))
        #expect(try await self.put(module, .absent) == .success(nil))
        #expect(try await self.put(module, .absent) == .failure(.moduleAlreadyExists))
        #expect(try await self.store.identity(module.id) == module)
    }

    @Test func `removing a device removes its modules and no others`() async throws {
        for (device, module) in [("d", nil), ("d", "m"), ("d2", nil), ("d2", "m")] {
            _ = try await self.put(self.document(device, module))
        }
        _ = try await self.apply([.delete(IdentityID(device: "d"), .present)])
        #expect(try await self.store.identity(IdentityID(device: "d", module: "m")) == nil)
        #expect(try await self.store.identity(IdentityID(device: "d2", module: "m")) != nil)
        _ = try await self.apply([.delete(IdentityID(device: "d2", module: "m"), .present)])
        #expect(try await self.store.identity(IdentityID(device: "d2")) != nil)
    }

    @Test func `a hub and a device hold as many as they may`() async throws {
        var limits = Limits()
        limits.devicesMax = 2
        limits.modulesPerDeviceMax = 1
        let store = EmbeddedIdentityStore(try .inMemory(), limits: limits)
        let outcomes = try await store.apply(
            [("a", nil), ("b", nil), ("c", nil), ("a", nil), ("a", "m"), ("a", "n"), ("b", "m")]
                .map { IdentityWrite.put(self.document($0, $1), .always) }
        )
        let codes = outcomes.map { outcome -> HubErrorCode? in
            if case .failure(let error) = outcome { return error.code }
            return nil
        }
        #expect(codes == [nil, nil, .quotaExceeded, nil, nil, .tooManyModules, nil])
    }

    @Test func `devices are listed by the bytes of their ids without modules, after an id, up to a limit`() async throws
    {
        for id in ["b", "a", "C", "a-1", "$x", "a:b"] { _ = try await self.put(self.document(id)) }
        _ = try await self.put(self.document("a", "module"))
        let all = try await self.store.devices(after: nil, limit: 100)
        #expect(all.map(\.id.device) == ["$x", "C", "a", "a-1", "a:b", "b"])
        #expect(all.allSatisfy { $0.id.module == nil })
        let some = try await self.store.devices(after: "C", limit: 2)
        #expect(some.map(\.id.device) == ["a", "a-1"])
        #expect(some[0] == self.document("a"))
    }

    @Test func `devices are counted without modules, all and the enabled ones`() async throws {
        var enabled = self.document("a")
        enabled.status = .enabled
        for identity in [enabled, self.document("b"), self.document("b", "m")] { _ = try await self.put(identity) }
        #expect(try await self.store.deviceCounts() == (2, 1))
        _ = try await self.put(self.document("a"))
        #expect(try await self.store.deviceCounts() == (2, 0))
        _ = try await self.put(enabled)
        _ = try await self.apply([.delete(IdentityID(device: "b"), .always)])
        #expect(try await self.store.deviceCounts() == (1, 1))
        _ = try await self.apply([.delete(IdentityID(device: "a"), .always)])
        #expect(try await self.store.deviceCounts() == (0, 0))
    }

    @Test func `policies are replaced as a whole and ordered by name`() async throws {
        let policies = ["b", "a"].map {
            SharedAccessPolicy(
                name: $0,
                primaryKey: "p\($0)",
                secondaryKey: "s",
                rights: [.registryRead, .deviceConnect]
            )
        }
        #expect(try await self.store.policies() == [])
        try await self.store.setPolicies(policies)
        #expect(try await self.store.policies() == policies.reversed())
        try await self.store.setPolicies([policies[0]])
        #expect(try await self.store.policies() == [policies[0]])
    }

    @Test func `subscriptions are returned in the order of subscribing and keep their age`() async throws {
        let id = IdentityID(device: "d")
        _ = try await self.put(self.document("d"))
        func filter(_ text: String, _ qos: UInt8, _ time: Int64) -> SubscriptionFilter {
            SubscriptionFilter(filter: text, qos: qos, createdMilliseconds: time)
        }
        try await self.store.addSubscriptions([filter("z", 0, 1), filter("a", 1, 2)], of: id)
        try await self.store.addSubscriptions([filter("m", 1, 3), filter("z", 1, 4)], of: id)
        #expect(
            try await self.store.subscriptions(of: id) == [filter("z", 1, 1), filter("a", 1, 2), filter("m", 1, 3)]
        )
        try await self.store.removeSubscriptions(["a", "missing"], of: id)
        #expect(try await self.store.subscriptions(of: id) == [filter("z", 1, 1), filter("m", 1, 3)])
        try await self.store.removeSubscriptions(nil, of: id)
        #expect(try await self.store.subscriptions(of: id) == [])
    }

    @Test func `removing an identity removes its subscriptions`() async throws {
        let filter = SubscriptionFilter(filter: "f", qos: 1, createdMilliseconds: 0)
        let (device, module, other) = (
            IdentityID(device: "d"), IdentityID(device: "d", module: "m"), IdentityID(device: "d2")
        )
        for id in [device, module, other] {
            _ = try await self.put(self.document(id.device, id.module))
            try await self.store.addSubscriptions([filter], of: id)
        }
        _ = try await self.apply([.delete(device, .present)])
        #expect(try await self.store.subscriptions(of: device) == [])
        #expect(try await self.store.subscriptions(of: module) == [])
        #expect(try await self.store.subscriptions(of: other) == [filter])
    }

    @Test func `subscribing does nothing for an identity that is not registered`() async throws {
        let id = IdentityID(device: "gone")
        try await self.store.addSubscriptions([SubscriptionFilter(filter: "f", qos: 1, createdMilliseconds: 0)], of: id)
        _ = try await self.put(self.document("gone"))
        #expect(try await self.store.subscriptions(of: id) == [])
    }

    @Test func `reads see every write that returned before they began`() async throws {
        let store = self.store
        try await withThrowingTaskGroup { group in
            for number in 0..<200 {
                group.addTask {
                    let identity = RegisteredIdentity(
                        id: IdentityID(device: "d\(number)"),
                        generationID: "1",
                        etag: "1"
                    )
                    _ = try await store.apply([.put(identity, .absent)])
                    #expect(try await store.identity(identity.id) == identity)
                }
            }
            try await group.waitForAll()
        }
        #expect(try await store.deviceCounts().total == 200)
    }

    @Test func `of two steps with one condition exactly one succeeds`() async throws {
        _ = try await self.put(self.document("d", etag: "0"))
        let store = self.store
        let successes = try await withThrowingTaskGroup { group in
            for number in 1...50 {
                group.addTask {
                    let next = RegisteredIdentity(id: IdentityID(device: "d"), generationID: "1", etag: "\(number)")
                    guard case .success = try await store.apply([.put(next, .matches(etag: "0"))])[0] else { return 0 }
                    return 1
                }
            }
            return try await group.reduce(0, +)
        }
        #expect(successes == 1)
    }

    @Test func `a step whose write is refused does nothing of what goes along with it`() async throws {
        let database = try StateDatabase.inMemory()
        let store = EmbeddedIdentityStore(database, limits: Limits())
        let twins = EmbeddedTwinStore(database, limits: Limits())
        func step(_ device: String, _ value: String) throws -> IdentityStep {
            let id = IdentityID(device: device)
            let module = IdentityID(device: device, module: "m")
            let body = ByteBuffer(string: #"{"tags":{"a":"\#(value)"}}"#)
            let change = try TwinChange(serviceBody: body, replaces: true, limits: TwinLimits())
            return IdentityStep(
                .put(RegisteredIdentity(id: id, generationID: "1", etag: value), .absent),
                companions: [.put(RegisteredIdentity(id: module, generationID: "1", etag: value), .absent)],
                twin: TwinStep(id: id, change: change, milliseconds: 0)
            )
        }
        _ = try await store.apply([
            .put(RegisteredIdentity(id: IdentityID(device: "b"), generationID: "1", etag: "b"), .always)
        ])
        let outcomes = try await store.apply([step("a", "a"), step("b", "x")])
        #expect(try outcomes[0].get().before == nil)
        #expect(throws: HubError.self) { try outcomes[1].get() }
        #expect(try await store.modules(of: "a").map(\.id.module) == ["m"])
        #expect(try await store.modules(of: "b").isEmpty)
        #expect(String(buffer: try await twins.twin(IdentityID(device: "a")).twin.tags) == #"{"a":"a"}"#)
        #expect(String(buffer: try await twins.twin(IdentityID(device: "b")).twin.tags) == "{}")

        // A companion that is refused is passed over, and so is what the twin refuses.
        var again = try step("a", String(repeating: "x", count: 4_000))
        again.write = .put(RegisteredIdentity(id: IdentityID(device: "a"), generationID: "1", etag: "2"), .present)
        again.twin?.ifMatch = ["stale"]
        let outcome = try await store.apply([again])[0].get()
        #expect(outcome.before?.etag == "a")
        guard case .failure(let refusal)? = outcome.twin else {
            Issue.record("the twin's part was not refused")
            return
        }
        #expect(refusal.code == .preconditionFailed)
        #expect(try await store.identity(IdentityID(device: "a"))?.etag == "2")
        #expect(try await store.modules(of: "a").map(\.etag) == ["a"])
    }
}
