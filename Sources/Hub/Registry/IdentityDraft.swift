// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

public import HubModel

/// What a caller asks an identity to be; nil and empty mean that the hub decides.
public struct IdentityDraft: Sendable, Hashable {
    /// Who it shall be.
    public var id: IdentityID
    /// Whether it may be used; nil for enabled.
    public var status: IdentityStatus?
    /// Why it has that status.
    public var statusReason: String?
    /// How it proves who it is; nil to tell from what is given: by thumbprint if there is one, by keys otherwise.
    public var authentication: AuthenticationType?
    /// Its keys; those that are missing or empty are made.
    public var symmetricKeys = CredentialPair()
    /// The thumbprints of its certificates.
    public var thumbprints = CredentialPair()
    /// Whether it is an edge gateway.
    public var isEdge = false
    /// The scope it shall belong to.
    public var deviceScope: String?
    /// The scopes of its parents.
    public var parentScopes: [String] = []
    /// What manages a module, in the client's own words.
    public var managedBy: String?

    /// Makes a draft that leaves all to the hub.
    public init(id: IdentityID) {
        self.id = id
    }
}

/// The rules that a draft must keep, and what becomes of it (docs/wire/http.md#identities).
struct IdentityRules {
    static let statusReasonLengthMax = 128
    /// The longest `managedBy` and the longest scope; those that a hub makes have 165 characters at most.
    static let textLengthMax = 512
    static let parentScopesMax = 100
    static let keyBytes = 16...64
    static let generatedKeyBytes = 32
    static let systemModules = ["$edgeAgent", "$edgeHub"]
    static let scopePrefix = "ms-azure-iot-edge://"

    let allowsSampleKeys: Bool

    /// Makes a document of a draft, in place of an existing one or as a new one of a generation.
    ///
    /// Throws `.argumentInvalid`, naming what is wrong.
    func resolve(
        _ draft: IdentityDraft,
        existing: RegisteredIdentity?,
        generationID: String,
        nowMilliseconds now: Int64
    ) throws(HubError) -> RegisteredIdentity {
        try self.checkID(draft.id)
        try self.checkTexts(draft)
        let status = draft.status ?? .enabled
        let type = draft.authentication ?? (draft.thumbprints.isEmpty ? .sas : .selfSigned)
        let isStatusKept = status == (existing?.status ?? .enabled)
        var identity = RegisteredIdentity(
            id: draft.id,
            generationID: existing?.generationID ?? generationID,
            etag: Self.newETag(otherThan: existing?.etag),
            status: status,
            statusReason: draft.statusReason,
            statusUpdatedMilliseconds: isStatusKept ? existing?.statusUpdatedMilliseconds : now,
            authentication: type,
            symmetricKeys: type == .sas ? try self.keys(draft.symmetricKeys) : CredentialPair(),
            thumbprints: type == .selfSigned ? try self.thumbprints(draft.thumbprints) : CredentialPair(),
            isEdge: draft.isEdge,
            managedBy: draft.id.module == nil ? nil : draft.managedBy
        )
        self.placeInScopes(&identity, draft, existing: existing)
        return identity
    }

    /// An entity tag in the form the hub uses: base64 of a random decimal number.
    static func newETag(otherThan old: String?) -> String {
        while true {
            let etag = Base64.encode(String(UInt32.random(in: 100_000_000 ... .max)).utf8)
            if etag != old { return etag }
        }
    }

    /// A key that nobody knows, base64 text.
    static func newKey() -> String {
        var random = SystemRandomNumberGenerator()
        return Base64.encode((0..<self.generatedKeyBytes).map { _ in UInt8.random(in: .min ... .max, using: &random) })
    }

    private func checkID(_ id: IdentityID) throws(HubError) {
        guard IdentityID.isLegal(id.device), id.module.map({ IdentityID.isLegal($0) }) ?? true else {
            throw HubError(
                .argumentInvalid,
                "An ID has 1 to \(Limits.identityLengthMax) characters out of letters, digits and -:.+%_#*?!(),=@;$'."
            )
        }
    }

    /// Bounds what is free text; without that one document could be as large as a body, and a list of them a thousand times that.
    private func checkTexts(_ draft: IdentityDraft) throws(HubError) {
        func check(_ text: String?, _ name: String, _ lengthMax: Int = Self.textLengthMax) throws(HubError) {
            guard (text?.utf16.count ?? 0) <= lengthMax else {
                throw HubError(.argumentInvalid, "\(name) is longer than \(lengthMax) characters.")
            }
        }
        try check(draft.statusReason, "statusReason", Self.statusReasonLengthMax)
        try check(draft.managedBy, "managedBy")
        try check(draft.deviceScope, "deviceScope")
        guard draft.parentScopes.count <= Self.parentScopesMax else {
            throw HubError(.argumentInvalid, "parentScopes has more than \(Self.parentScopesMax) scopes.")
        }
        for scope in draft.parentScopes { try check(scope, "A scope of parentScopes") }
    }

    private func keys(_ pair: CredentialPair) throws(HubError) -> CredentialPair {
        func key(_ text: String?) throws(HubError) -> String {
            guard let text, !text.isEmpty else { return Self.newKey() }
            guard let bytes = Base64.decode(text), Self.keyBytes.contains(bytes.count) else {
                throw HubError(.argumentInvalid, "A symmetric key is the base64 text of 16 to 64 bytes.")
            }
            guard self.allowsSampleKeys || !SampleKeys.contains(text) else {
                throw HubError(.argumentInvalid, "The symmetric key stands in public documentation; use another.")
            }
            return text
        }
        return CredentialPair(primary: try key(pair.primary), secondary: try key(pair.secondary))
    }

    private func thumbprints(_ pair: CredentialPair) throws(HubError) -> CredentialPair {
        guard !pair.isEmpty else {
            throw HubError(.argumentInvalid, "A device of type selfSigned needs a certificate thumbprint.")
        }
        for text in [pair.primary, pair.secondary].compactMap({ $0 }) where !text.isEmpty {
            let digits = text.filter { $0 != ":" && $0 != " " }
            guard digits.utf8.count == 40 || digits.utf8.count == 64, digits.allSatisfy({ $0.isASCII && $0.isHexDigit })
            else {
                throw HubError(.argumentInvalid, "A thumbprint has 40 (SHA-1) or 64 (SHA-256) hexadecimal digits.")
            }
        }
        return CredentialPair(
            primary: pair.primary.flatMap { $0.isEmpty ? nil : $0 },
            secondary: pair.secondary.flatMap { $0.isEmpty ? nil : $0 }
        )
    }

    /// An edge device's own scope is made once and stays; a leaf's scope is its parent's.
    private func placeInScopes(
        _ identity: inout RegisteredIdentity,
        _ draft: IdentityDraft,
        existing: RegisteredIdentity?
    ) {
        guard draft.id.module == nil else { return }
        if draft.isEdge {
            let own = existing?.isEdge == true ? existing?.deviceScope : nil
            identity.deviceScope = own ?? "\(Self.scopePrefix)\(draft.id.device)-\(identity.generationID)"
            identity.parentScopes = draft.parentScopes
            return
        }
        let scope = draft.deviceScope.flatMap { $0.isEmpty ? nil : $0 }
        // An empty scope detaches, whatever the parents say.
        let detaches = draft.deviceScope?.isEmpty == true
        identity.deviceScope = scope ?? (detaches ? nil : draft.parentScopes.first)
        identity.parentScopes = identity.deviceScope.map { [$0] } ?? []
    }
}

extension CredentialPair {
    /// Whether neither slot holds anything.
    var isEmpty: Bool { (self.primary ?? "").isEmpty && (self.secondary ?? "").isEmpty }
}
