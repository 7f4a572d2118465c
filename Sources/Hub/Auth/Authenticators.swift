// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

public import HubModel

/// What a device or a module offers as proof.
public enum DeviceCredential: Sendable {
    /// A shared access signature, as text.
    case token(String)
    /// The certificates of a TLS handshake in DER form, the peer's own first.
    case certificateChain([[UInt8]])
    /// Nothing at all.
    case nothing
}

/// Which rule a service's token is signed by (docs/wire/security.md#dialects).
public enum TokenDialect: Sendable, Hashable {
    /// The hub's: the HMAC key is what the base64 text of the policy key decodes to.
    case hub
    /// Event Hubs': the HMAC key is the text of the policy key.
    case eventHubs
}

/// Decides whether a device or a module is who it says.
public protocol DeviceAuthenticating: Sendable {
    /// Authenticates an identity by what it offers.
    ///
    /// - Throws: ``HubError`` `.unauthorized` for an unknown or disabled identity, a wrong, malformed or expired
    ///   credential alike, with one text and at equal cost; `.serviceUnavailable` where the store can't tell (never to be shown to a peer as a refusal of the
    ///   credential).
    func authenticate(
        _ id: IdentityID,
        credential: DeviceCredential,
        nowSeconds: Int64
    ) async throws -> AuthenticatedIdentity

    /// Says whether a certificate authority, named by its certificate's SHA-256 thumbprint, still vouches for devices.
    func isStillGood(authority thumbprint: String) -> Bool
}

extension DeviceAuthenticating {
    /// One that takes no certificates has none to take back.
    public func isStillGood(authority thumbprint: String) -> Bool { true }
}

/// Decides which shared access policy a service holds a key of; called on any thread, never waits.
public protocol ServiceAuthenticating: Sendable {
    /// Authenticates a token.
    ///
    /// - Throws: `.unauthorized` with the reason.
    func authenticate(token: String, dialect: TokenDialect, nowSeconds: Int64) throws(HubError) -> ServicePrincipal

    /// Authenticates the name of a policy and the text of one of its keys, as SASL PLAIN carries them.
    ///
    /// - Throws: `.unauthorized`.
    func authenticate(policy: String, key: String) throws(HubError) -> ServicePrincipal

    /// Says whether a principal that was authenticated earlier still would be: its policy was there with that key and
    /// those rights all the time. Its expiry is the caller's business.
    func isStillGood(_ principal: ServicePrincipal) -> Bool

    /// Says whether a policy still is there, and neither the key in that slot was changed nor a right taken away since a
    /// change of the policies; changed there and back counts as changed.
    func isStillGood(policy: String, _ slot: KeySlot, since change: UInt64) -> Bool
}
