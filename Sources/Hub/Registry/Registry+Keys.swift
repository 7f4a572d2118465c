// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

public import HubModel

extension Registry {
    /// Makes new symmetric keys for an identity, in some of its slots, and ends the connections that rest on the old.
    ///
    /// - Throws: `.deviceNotFound`, `.moduleNotFound`, `.argumentInvalid` for an identity without symmetric keys
    public func regenerateKeys(of id: IdentityID, _ slots: Set<KeySlot>) async throws -> RegisteredIdentity {
        for _ in 1...Self.attemptsMax {
            let before = try await self.identity(id)
            guard before.authentication == .sas else {
                throw HubError(.argumentInvalid, "'\(id)' does not sign in with symmetric keys.")
            }
            var after = before
            if slots.contains(.primary) { after.symmetricKeys.primary = IdentityRules.newKey() }
            if slots.contains(.secondary) { after.symmetricKeys.secondary = IdentityRules.newKey() }
            after.etag = IdentityRules.newETag(otherThan: before.etag)
            switch try await self.store.apply([.put(after, .matches(etag: before.etag))]).first {
            case .success(let before)?:
                self.revoke(before: before, after: after)
                return after
            case .failure(let error)? where error.code == .preconditionFailed: continue
            case .failure(let error)?: throw error
            case nil: throw HubError(.internalError, "The store did not answer.")
            }
        }
        throw HubError(.throttled, "Too many changes of one identity at the same time; try again.")
    }
}
