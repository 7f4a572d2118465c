// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

public import HubModel

/// What the hub hands to a connection for its peer; the front renders it in its protocol.
public enum Delivery: Sendable, Hashable {
    /// The connection (or, where one carries many identities, this identity's part of it) must end.
    case disconnect(DisconnectReason)
    /// Desired properties of the identity's twin were written; in the order of their versions.
    case desiredPatch(DesiredNotice)
    /// A back end calls a method of the identity; the answer goes to ``DeviceSession/respond(to:_:)``.
    case methodCall(MethodCall)
    /// Commands may be waiting for the identity: a hint to ask for them.
    case commandsWaiting
}

/// Why the hub ends a connection.
public enum DisconnectReason: String, Sendable, Hashable, CaseIterable {
    /// The same identity connected anew.
    case takenOver
    /// The identity was disabled, or the credential it signed in with was changed.
    case revoked
    /// The identity, or the device whose module it is, was deleted.
    case deleted
    /// The token's time is over.
    case tokenExpired
    /// The hub stops.
    case shuttingDown

    /// Whether the identity may no longer speak, so that it leaves no will either.
    public var endsRights: Bool { self == .revoked || self == .deleted }
}
