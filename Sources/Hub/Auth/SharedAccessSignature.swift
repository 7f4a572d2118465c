// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import HubModel

/// A shared access signature token taken apart: what it is for, until when, and the signature over both.
///
/// Parsing verifies nothing; the authenticators do.
public struct SharedAccessSignature: Sendable, Hashable {
    /// Why a text is no token.
    public enum ParseError: Error, Sendable, Hashable {
        /// The text is longer than `textBytesMax`, or holds control characters.
        case unreadable
        /// The text is not the scheme word, white space and one list of fields.
        case scheme
        /// A field has no `=`, or is there twice.
        case field
        /// `sr`, `sig` or `se` is missing or empty.
        case missingField
        /// `sig` is not the base64 text of 32 bytes.
        case signature
        /// `se` is not an unsigned 64-bit decimal number.
        case expiry
        /// `skn` is malformed or longer than `keyNameLengthMax`.
        case keyName
    }

    /// The longest token, in bytes.
    public static let textBytesMax = 4096
    /// The longest policy name, in characters.
    public static let keyNameLengthMax = 256
    /// Expiries beyond the year 9999 count as this one.
    public static let expirySecondsMax: Int64 = 253_402_300_799

    /// The resource exactly as the token spells it, which is what was signed.
    public let resourceText: String
    /// The expiry exactly as the token spells it, which is what was signed.
    public let expiryText: String
    /// When the token expires, in seconds since 1970 UTC; at most `expirySecondsMax`.
    public let expiresAtSeconds: Int64
    /// The 32 bytes of the signature.
    public let signature: [UInt8]
    /// The policy name decoded once; nil if it is absent or empty.
    public let keyName: String?

    /// The text that the signature is over.
    public var signedText: String { "\(self.resourceText)\n\(self.expiryText)" }

    /// Takes a token apart, with its fields in any order and any letter case.
    ///
    /// - Throws: `ParseError` for what no client sends
    public init(parsing text: String) throws(ParseError) {
        guard text.utf8.count <= Self.textBytesMax, !text.utf8.contains(where: { $0 < 0x20 || $0 == 0x7F }) else {
            throw .unreadable
        }
        let parts = text.split(separator: " ")
        guard parts.count == 2, parts[0].lowercased() == "sharedaccesssignature" else { throw .scheme }
        let fields = try Self.fields(of: parts[1])
        guard let resource = fields["sr"], let signature = fields["sig"], let expiry = fields["se"],
            !resource.isEmpty, !signature.isEmpty, !expiry.isEmpty
        else { throw .missingField }
        self.resourceText = String(resource)
        self.expiryText = String(expiry)
        self.expiresAtSeconds = try Self.expirySeconds(expiry)
        self.signature = try Self.signatureBytes(signature)
        self.keyName = try Self.keyName(fields["skn"] ?? "")
    }

    /// Whether the token is no longer good at a time, the tolerated clock skew granted.
    public func isExpired(atSeconds now: Int64, clockSkewSeconds: Int64) -> Bool {
        self.expiresAtSeconds + clockSkewSeconds < now
    }

    /// The policy name decoded once more; Event Hubs clients encode it twice.
    public var keyNameDecodedTwice: String? {
        self.keyName.flatMap { PercentEncoding.decode($0) } ?? self.keyName
    }

    // MARK: Fields

    private static func fields(of text: Substring) throws(ParseError) -> [String: Substring] {
        var fields: [String: Substring] = [:]
        for part in text.split(separator: "&", omittingEmptySubsequences: false) {
            guard let equals = part.firstIndex(of: "=") else { throw .field }
            let name = part[..<equals].lowercased()
            guard fields.updateValue(part[part.index(after: equals)...], forKey: name) == nil else { throw .field }
        }
        return fields
    }

    private static func expirySeconds(_ text: Substring) throws(ParseError) -> Int64 {
        guard text.utf8.allSatisfy({ (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) }),
            let seconds = UInt64(text)
        else { throw .expiry }
        return Int64(min(seconds, UInt64(self.expirySecondsMax)))
    }

    private static func signatureBytes(_ text: Substring) throws(ParseError) -> [UInt8] {
        // A client that forgets to encode `+` sends what form decoding takes for a space; it can mean nothing else here.
        guard let decoded = PercentEncoding.decode(text) else { throw .signature }
        let base64 = String(decoded.map { $0 == " " ? "+" : $0 })
        guard let data = Base64.decode(base64), data.count == 32 else { throw .signature }
        return data
    }

    private static func keyName(_ text: Substring) throws(ParseError) -> String? {
        guard let name = PercentEncoding.decode(text), name.count <= self.keyNameLengthMax else { throw .keyName }
        return name.isEmpty ? nil : name
    }
}
