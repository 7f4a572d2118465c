// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

/// Which of two keys or thumbprints signed in.
public enum KeySlot: UInt8, Sendable, Hashable {
    /// The first one.
    case primary
    /// The second one.
    case secondary
}

/// What a device or a module proved itself with.
public enum DeviceProof: Sendable, Hashable {
    /// A token signed with the identity's own key.
    case identityKey(KeySlot)
    /// A token signed with the key of a shared access policy.
    case policyKey(policy: String, KeySlot)
    /// A certificate whose thumbprint is registered.
    case thumbprint(KeySlot)
    /// A certificate that chains to a registered authority, named by its own certificate's SHA-256 thumbprint.
    case certificateAuthority(thumbprint: String)
}

/// A device or a module that has proved who it is: what a connection holds on to from sign-in to its end.
public struct AuthenticatedIdentity: Sendable, Hashable {
    /// Who it is.
    public let id: IdentityID
    /// Tells this identity from an earlier one of the same id.
    public let generationID: String
    /// What it proved itself with.
    public let proof: DeviceProof
    /// When the proof ends, in seconds since 1970 UTC, before the clock skew is added; nil where it does not.
    public let expiresAtSeconds: Int64?
    /// The change of the policies that was the last one when a policy's key proved it.
    public let policyChange: UInt64
    /// The plug-and-play model that the connection announced, if any.
    public var modelID: String?

    /// Makes an identity that was just authenticated.
    public init(
        id: IdentityID,
        generationID: String,
        proof: DeviceProof,
        expiresAtSeconds: Int64?,
        modelID: String? = nil,
        policyChange: UInt64 = 0
    ) {
        self.id = id
        self.generationID = generationID
        self.proof = proof
        self.expiresAtSeconds = expiresAtSeconds
        self.modelID = modelID
        self.policyChange = policyChange
    }
}
