// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

public import HubModel

/// What a token is for, taken from its `sr` text (docs/wire/security.md#audience).
struct TokenAudience {
    /// The segments below the host, decoded; empty for the whole hub.
    let path: [Substring]

    /// The audience of a token that a policy's key signed.
    ///
    /// Decoded exactly once: with more, one token would speak for two ids that differ by their encoding.
    ///
    /// Returns nil for a foreign host or a path that is none.
    static func ofPolicyToken(_ token: SharedAccessSignature, names: HubNames) -> TokenAudience? {
        PercentEncoding.decode(token.resourceText).flatMap { TokenAudience($0, names: names) }
    }

    /// Whether a token that an identity's own key signed is for that identity.
    ///
    /// Clients encode ids not at all, once or twice, and some lower-case the whole audience. All of that is safe here: the
    /// signature proves that the sender holds this very identity's key.
    static func isForIdentity(_ id: IdentityID, _ token: SharedAccessSignature, names: HubNames) -> Bool {
        var candidate: String? = token.resourceText
        for _ in 0..<3 {
            guard let text = candidate else { return false }
            if TokenAudience(text, names: names)?.isIdentity(id) == true { return true }
            candidate = PercentEncoding.decode(text)
        }
        return false
    }

    /// The identities that an audience may name, the most literal reading first; whose it is, a signature must tell.
    static func identities(in text: String, names: HubNames) -> [IdentityID] {
        var found: [IdentityID] = []
        var candidate: String? = text
        for _ in 0..<3 {
            guard let text = candidate else { break }
            if let path = TokenAudience(text, names: names)?.path {
                for path in [path, path.compactMap { PercentEncoding.decode($0).map { $0[...] } }] {
                    if let id = identity(of: path), !found.contains(id) { found.append(id) }
                }
            }
            candidate = PercentEncoding.decode(text)
        }
        return found
    }

    private static func identity(of path: [Substring]) -> IdentityID? {
        var path = path
        if path.count.isMultiple(of: 2) == false, path.last?.hasPrefix("api-version=") == true { path.removeLast() }
        guard path.count == 2 || path.count == 4, path[0].lowercased() == "devices", IdentityID.isLegal(path[1]) else {
            return nil
        }
        guard path.count == 4 else { return IdentityID(device: String(path[1])) }
        guard path[2].lowercased() == "modules", IdentityID.isLegal(path[3]) else { return nil }
        return IdentityID(device: String(path[1]), module: String(path[3]))
    }

    /// Whether this is the path of an endpoint, or a part of it that ends where a segment does.
    func covers(_ endpoint: [String]) -> Bool {
        guard self.path.count <= endpoint.count else { return false }
        return self.path.indices.allSatisfy { index in
            let isKeyword = index % 2 == 0
            return isKeyword ? Self.alike(self.path[index], endpoint[index]) : self.path[index] == endpoint[index]
        }
    }

    /// The path of an identity's own endpoints.
    static func path(of id: IdentityID) -> [String] {
        ["devices", id.device] + (id.module.map { ["modules", $0] } ?? [])
    }

    private init?(_ text: String, names: HubNames) {
        var rest = text[...]
        if let slash = rest.firstIndex(of: "/"), rest[..<slash].last == ":", rest[slash...].hasPrefix("//") {
            rest = rest[slash...].dropFirst(2)
        }
        if rest.last == "/" { rest.removeLast() }
        let segments = rest.split(separator: "/", omittingEmptySubsequences: false)
        guard let host = segments.first, names.contains(host: host) else { return nil }
        let isPath = segments.dropFirst().allSatisfy { segment in
            !segment.isEmpty && segment != "." && segment != ".." && !segment.utf8.contains(where: { $0 < 0x20 })
        }
        guard isPath else { return nil }
        self.path = Array(segments.dropFirst())
    }

    private func isIdentity(_ id: IdentityID) -> Bool {
        var path = self.path
        // Tools of 2016 sign the api-version with the path.
        if path.count.isMultiple(of: 2) == false, path.last?.hasPrefix("api-version=") == true { path.removeLast() }
        let wanted = Self.path(of: id)
        guard path.count == wanted.count else { return false }
        return zip(path, wanted).allSatisfy { segment, wanted in
            Self.alike(segment, wanted) || PercentEncoding.decode(segment).map { Self.alike($0, wanted) } == true
        }
    }

    private static func alike(_ first: some StringProtocol, _ second: some StringProtocol) -> Bool {
        first.lowercased() == second.lowercased()
    }
}

extension HubNames {
    /// The identities that an audience such as `{hub}/devices/{d}` may name, the most literal reading first.
    ///
    /// Clients encode ids not at all, once or twice. Which reading is meant only the signature can tell: whoever asks has
    /// to authenticate one after another.
    public func identities(inAudience text: String) -> [IdentityID] { TokenAudience.identities(in: text, names: self) }
}
