// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import Crypto
import FoundationEssentials

/// Makes the SAS tokens that clients sign in with.
///
/// Two dialects exist for one key text: on hub endpoints the HMAC key is the base64-decoded text, on the Event
/// Hubs-compatible endpoint it is the text itself (docs/wire/security.md).
public enum SASToken {
    /// Which endpoint the token is for.
    public enum Dialect: Sendable {
        /// MQTT, HTTPS and the hub's own AMQP addresses.
        case hub
        /// The Event Hubs-compatible endpoint.
        case eventHubs
    }

    /// Makes one token.
    ///
    /// - Parameters:
    ///   - resource: what the token is for, not yet percent-encoded, such as `host/devices/id`.
    ///   - key: the key as base64 text.
    ///   - policy: the name of the shared access policy, or nil for a device's own key.
    ///   - expiresAt: seconds since 1970.
    ///   - dialect: which endpoint the token is for.
    /// - Returns: the whole text, `SharedAccessSignature` included.
    /// - Throws: ``HubClientError/badKey`` when the key is not base64 and the dialect needs it to be.
    public static func make(
        resource: String,
        key: String,
        policy: String? = nil,
        expiresAt: Int64,
        dialect: Dialect = .hub
    ) throws(HubClientError) -> String {
        let encoded = percentEncoded(resource)
        let secret: Data
        switch dialect {
        case .hub:
            guard let decoded = Data(base64Encoded: key) else { throw .badKey }
            secret = decoded
        case .eventHubs:
            secret = Data(key.utf8)
        }
        let text = Data("\(encoded)\n\(expiresAt)".utf8)
        let mac = HMAC<SHA256>.authenticationCode(for: text, using: SymmetricKey(data: secret))
        let signature = percentEncoded(Data(mac).base64EncodedString())
        let name = policy.map { "&skn=\(percentEncoded($0))" } ?? ""
        return "SharedAccessSignature sr=\(encoded)&sig=\(signature)&se=\(expiresAt)\(name)"
    }

    /// The moment `lifetime` seconds from now, as tokens count it.
    public static func expiry(inSeconds lifetime: Int64) -> Int64 {
        Int64(Date().timeIntervalSince1970) + lifetime
    }
}

/// The text with every byte but unreserved characters as `%XX`, in upper case.
func percentEncoded(_ text: String) -> String {
    let digits = Array("0123456789ABCDEF".utf8)
    var bytes: [UInt8] = []
    bytes.reserveCapacity(text.utf8.count + 16)
    for byte in text.utf8 {
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
            UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"), UInt8(ascii: "."), UInt8(ascii: "_"),
            UInt8(ascii: "~"):
            bytes.append(byte)
        default:
            bytes += [UInt8(ascii: "%"), digits[Int(byte >> 4)], digits[Int(byte & 15)]]
        }
    }
    return String(decoding: bytes, as: UTF8.self)
}
