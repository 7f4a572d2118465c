// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import EmbeddedStore
import HubModel
import Testing

/// Each sentence of `AuthorityStore`.
@Suite struct AuthorityStoreTests {
    private func store(authoritiesMax: Int = 25) throws -> EmbeddedAuthorityStore {
        var limits = Limits()
        limits.certificates.authoritiesMax = authoritiesMax
        return EmbeddedAuthorityStore(try StateDatabase.inMemory(), limits: limits)
    }

    private func authority(_ name: String, etag: String = "1", code: String? = nil) -> CertificateAuthority {
        CertificateAuthority(
            name: name,
            etag: etag,
            certificate: [1, 2, 3, 0],
            isVerified: code == nil,
            verificationCode: code,
            createdMilliseconds: 5,
            updatedMilliseconds: 6
        )
    }

    private func code(_ body: () async throws -> Void) async -> HubErrorCode? {
        do {
            try await body()
            return nil
        } catch {
            return (error as? HubError)?.code
        }
    }

    @Test func `what is put is read whole and replaced whole`() async throws {
        let store = try self.store()
        #expect(try await store.authority("a") == nil)
        try await store.put(self.authority("a", code: "C"), .absent)
        #expect(try await store.authority("a") == self.authority("a", code: "C"))
        try await store.put(self.authority("a", etag: "2"), .matches(etag: "1"))
        #expect(try await store.authority("a") == self.authority("a", etag: "2"))
    }

    @Test func `all are listed by name`() async throws {
        let store = try self.store()
        for name in ["b", "a", "C"] { try await store.put(self.authority(name), .always) }
        #expect(try await store.authorities().map(\.name) == ["C", "a", "b"])
    }

    @Test func `a condition that does not hold changes nothing`() async throws {
        let store = try self.store()
        let one = self.authority("a")
        #expect(await self.code { try await store.put(one, .present) } == .certificateNotFound)
        #expect(await self.code { try await store.put(one, .matches(etag: "1")) } == .certificateNotFound)
        try await store.put(one, .absent)
        let other = self.authority("a", etag: "9")
        #expect(await self.code { try await store.put(other, .absent) } == .preconditionFailed)
        #expect(await self.code { try await store.put(other, .matches(etag: "9")) } == .preconditionFailed)
        #expect(await self.code { try await store.remove("a", .matches(etag: "9")) } == .preconditionFailed)
        #expect(try await store.authorities() == [one])
    }

    @Test func `what is removed is gone and can't be removed again`() async throws {
        let store = try self.store()
        try await store.put(self.authority("a"), .absent)
        try await store.remove("a", .matches(etag: "1"))
        #expect(try await store.authority("a") == nil)
        #expect(await self.code { try await store.remove("a", .always) } == .certificateNotFound)
    }

    @Test func `one too many is refused and changes of those there are go on`() async throws {
        let store = try self.store(authoritiesMax: 1)
        try await store.put(self.authority("a"), .absent)
        #expect(await self.code { try await store.put(self.authority("b"), .absent) } == .quotaExceeded)
        try await store.put(self.authority("a", etag: "2"), .present)
    }
}
