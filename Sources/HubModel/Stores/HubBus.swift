// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

/// What one node of a hub tells all nodes, itself included.
public enum HubSignal: Sendable, Hashable {
    /// An identity was disabled, or its credentials changed: its connections must end.
    ///
    /// With a device its modules are meant too. `keeping` names the proof whose connections may stay, as when only
    /// the other key was changed.
    case identityRevoked(IdentityID, keeping: [KeySlot])
    /// An identity was deleted, and with a device its modules: their connections must end, and what is remembered of
    /// them must not pass to a later identity of the same name.
    case identityDeleted(IdentityID)
    /// The shared access policies changed: connections that rest on one must be checked again.
    case policiesChanged
    /// The verified certificate authorities changed: connections that rest on one must be checked again.
    case authoritiesChanged
}

/// Carries signals between the nodes of a hub.
///
/// Guarantees: a signal sent by `broadcast` has reached every listener of this node when the call returns; other nodes
/// hear of it soon, and re-check on a slow timer what they might have missed.
public protocol HubBus: Sendable {
    /// Tells all nodes something.
    func broadcast(_ signal: HubSignal)

    /// Calls `receive` for every signal from now on; for the life of the hub.
    func listen(_ receive: @escaping @Sendable (HubSignal) -> Void)
}
