// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

/// Keeps what is known of the connections of identities, for when they are gone from memory.
///
/// Guarantees: a call that returned is durable. A presence goes with its identity, and one of another generation than the
/// identity has is not stored. What an earlier start of the hub stored as connected is returned as disconnected.
public protocol PresenceStore: Sendable {
    /// Returns what is stored of some identities; nothing for those of which nothing is.
    func presences(of ids: [IdentityID]) async throws -> [IdentityID: Presence]

    /// Stores presences in one step, in the place of what is stored of the same identities.
    func put(_ records: [PresenceRecord]) async throws
}

/// The store of a hub that forgets presences.
public struct NoPresences: PresenceStore {
    /// Makes one.
    public init() {}

    /// Returns nothing.
    public func presences(of ids: [IdentityID]) async throws -> [IdentityID: Presence] { [:] }

    /// Does nothing.
    public func put(_ records: [PresenceRecord]) async throws {}
}
