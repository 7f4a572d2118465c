// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

/// Whether an identity may be used.
public enum IdentityStatus: String, Sendable, Hashable {
    /// It may sign in.
    case enabled
    /// It may not; its connections are cut.
    case disabled
}

/// How an identity proves who it is.
public enum AuthenticationType: String, Sendable, Hashable {
    /// By tokens signed with one of two symmetric keys.
    case sas
    /// By a certificate whose thumbprint is registered.
    case selfSigned
    /// By a certificate that chains to a registered authority.
    case certificateAuthority
    /// Not at all.
    case none
}

/// Two values of which either serves, so that one can be changed while the other is in use.
public struct CredentialPair: Sendable, Hashable {
    /// The first one.
    public var primary: String?
    /// The second one.
    public var secondary: String?

    /// Makes a pair; nil means that there is none in that slot.
    public init(primary: String? = nil, secondary: String? = nil) {
        self.primary = primary
        self.secondary = secondary
    }
}

/// The identity document of a device or a module, as the registry keeps it (docs/wire/http.md#identities).
public struct RegisteredIdentity: Sendable, Hashable {
    /// Who it is.
    public var id: IdentityID
    /// Tells this identity from an earlier one of the same id; 18 decimal digits.
    public var generationID: String
    /// Changes with every change of the document; the text within the quotes of an ETag.
    public var etag: String
    /// Whether it may be used.
    public var status: IdentityStatus
    /// Why it has that status, nil where nobody said.
    public var statusReason: String?
    /// When the status last changed, in milliseconds since 1970 UTC; nil where it never did.
    public var statusUpdatedMilliseconds: Int64?
    /// How it proves who it is.
    public var authentication: AuthenticationType
    /// Its symmetric keys, base64 text.
    public var symmetricKeys: CredentialPair
    /// Its certificate thumbprints, hexadecimal text as it was given.
    public var thumbprints: CredentialPair
    /// Whether it is an edge gateway.
    public var isEdge: Bool
    /// The scope it belongs to, as it was given.
    public var deviceScope: String?
    /// The scopes of its parents, as they were given.
    public var parentScopes: [String]
    /// What manages a module, in the client's own words; nil where nobody said, and for devices.
    public var managedBy: String?

    /// Makes a document.
    public init(
        id: IdentityID,
        generationID: String,
        etag: String,
        status: IdentityStatus = .enabled,
        statusReason: String? = nil,
        statusUpdatedMilliseconds: Int64? = nil,
        authentication: AuthenticationType = .sas,
        symmetricKeys: CredentialPair = CredentialPair(),
        thumbprints: CredentialPair = CredentialPair(),
        isEdge: Bool = false,
        deviceScope: String? = nil,
        parentScopes: [String] = [],
        managedBy: String? = nil
    ) {
        self.id = id
        self.generationID = generationID
        self.etag = etag
        self.status = status
        self.statusReason = statusReason
        self.statusUpdatedMilliseconds = statusUpdatedMilliseconds
        self.authentication = authentication
        self.symmetricKeys = symmetricKeys
        self.thumbprints = thumbprints
        self.isEdge = isEdge
        self.deviceScope = deviceScope
        self.parentScopes = parentScopes
        self.managedBy = managedBy
    }
}
