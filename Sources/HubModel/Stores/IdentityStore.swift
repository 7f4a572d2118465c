// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

/// On what condition a write of an identity takes place.
public enum WriteCondition: Sendable, Hashable {
    /// Only where there is none of that id.
    case absent
    /// Only where there is one, whatever its entity tag.
    case present
    /// Only where there is one with this entity tag.
    case matches(etag: String)
    /// In any case.
    case always
}

/// One write of a bulk call.
public enum IdentityWrite: Sendable, Hashable {
    /// Stores a document.
    case put(RegisteredIdentity, WriteCondition)
    /// Removes an identity, and with a device all its modules.
    case delete(IdentityID, WriteCondition)
}

/// Keeps identities, shared access policies, and what persistent sessions subscribed to.
///
/// Guarantees: a call that returned is durable; each call is one atomic step; reads see every write that returned
/// before they began. Deleting an identity deletes its subscriptions.
public protocol IdentityStore: Sendable {
    /// Returns an identity, nil where there is none.
    func identity(_ id: IdentityID) async throws -> RegisteredIdentity?

    /// Stores and removes identities in one step; each write succeeds or fails by itself.
    ///
    /// Answers each write, in order: with the identity as it was before it (nil where there was none), or with
    /// `.deviceAlreadyExists`, `.moduleAlreadyExists`, `.deviceNotFound`, `.moduleNotFound`, `.preconditionFailed`
    /// `.quotaExceeded` or `.tooManyModules`.
    func apply(_ writes: [IdentityWrite]) async throws -> [Result<RegisteredIdentity?, HubError>]

    /// Lists devices without their modules, ordered by the bytes of their ids, those after `id` only, at most `limit`.
    func devices(after id: String?, limit: Int) async throws -> [RegisteredIdentity]

    /// Lists the modules of a device, ordered by the bytes of their ids; none where there is no such device.
    func modules(of device: String) async throws -> [RegisteredIdentity]

    /// Counts devices without their modules: all of them, and those that are enabled.
    func deviceCounts() async throws -> (total: Int, enabled: Int)

    /// Returns the shared access policies, ordered by name.
    func policies() async throws -> [SharedAccessPolicy]

    /// Replaces the shared access policies.
    func setPolicies(_ policies: [SharedAccessPolicy]) async throws

    /// Returns what the persistent session of an identity subscribed to, in the order of subscribing.
    func subscriptions(of id: IdentityID) async throws -> [SubscriptionFilter]

    /// Adds subscriptions; one whose filter is held already replaces its quality of service and keeps its age.
    ///
    /// Does nothing for an identity that is not registered (any more).
    func addSubscriptions(_ filters: [SubscriptionFilter], of id: IdentityID) async throws

    /// Removes subscriptions by filter; nil removes all.
    func removeSubscriptions(_ filters: [String]?, of id: IdentityID) async throws
}
