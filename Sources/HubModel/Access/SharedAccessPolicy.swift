// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

/// A named pair of keys and what they allow.
public struct SharedAccessPolicy: Sendable, Hashable {
    /// The name that a token carries as `skn`.
    public let name: String
    /// The first key, base64 text.
    public var primaryKey: String
    /// The second key, base64 text.
    public var secondaryKey: String
    /// What the keys allow.
    public var rights: AccessRights

    /// Makes a policy.
    public init(name: String, primaryKey: String, secondaryKey: String, rights: AccessRights) {
        self.name = name
        self.primaryKey = primaryKey
        self.secondaryKey = secondaryKey
        self.rights = rights
    }
}
