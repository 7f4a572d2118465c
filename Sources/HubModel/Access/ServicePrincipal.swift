// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

/// A back end that has proved which shared access policy it holds a key of.
public struct ServicePrincipal: Sendable, Hashable {
    /// The name of the policy.
    public let policy: String
    /// Which of its keys signed.
    public let keySlot: KeySlot
    /// What the policy allowed when it signed in.
    public let rights: AccessRights
    /// The path below the host that the token is good for, decoded, without slashes at its ends; empty for all.
    public let audiencePath: String
    /// When the token ends, in seconds since 1970 UTC, before the clock skew is added; nil where it does not.
    public let expiresAtSeconds: Int64?
    /// The change of the policies that was the last one when it signed in.
    public let policyChange: UInt64

    /// Makes a principal that was just authenticated.
    public init(
        policy: String,
        keySlot: KeySlot,
        rights: AccessRights,
        audiencePath: String,
        expiresAtSeconds: Int64?,
        policyChange: UInt64 = 0
    ) {
        self.policy = policy
        self.keySlot = keySlot
        self.rights = rights
        self.audiencePath = audiencePath
        self.expiresAtSeconds = expiresAtSeconds
        self.policyChange = policyChange
    }
}
