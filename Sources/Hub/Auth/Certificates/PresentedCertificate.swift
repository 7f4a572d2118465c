// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import Crypto
import FoundationEssentials
import HubModel
import SwiftASN1
import X509

/// A certificate as a client presented it: its bytes, and what they say.
struct PresentedCertificate: Sendable {
    let certificate: Certificate
    let der: [UInt8]

    /// Reads a certificate; nil for what is none, or is larger than certificates may be.
    init?(der: [UInt8], bytesMax: Int) {
        guard der.count <= bytesMax, let certificate = try? Certificate(derEncoded: der) else { return nil }
        self.certificate = certificate
        self.der = der
    }

    /// The thumbprint of `der` by SHA-1, in small hexadecimal digits.
    static func sha1(_ der: [UInt8]) -> String { self.hex(Insecure.SHA1.hash(data: der)) }

    /// The thumbprint of `der` by SHA-256, in small hexadecimal digits.
    static func sha256(_ der: [UInt8]) -> String { self.hex(SHA256.hash(data: der)) }

    /// Which of two registered thumbprints is this certificate's.
    func slot(in thumbprints: CredentialPair) -> KeySlot? {
        let own = [Self.sha1(self.der), Self.sha256(self.der)]
        func fits(_ registered: String?) -> Bool {
            guard let registered else { return false }
            let digits = registered.filter { $0 != ":" && $0 != " " }.lowercased()
            // Thumbprints are no secrets: they are taken of what every handshake shows.
            return own.contains(digits)
        }
        return fits(thumbprints.primary) ? .primary : fits(thumbprints.secondary) ? .secondary : nil
    }

    private static func hex(_ bytes: some Sequence<UInt8>) -> String {
        let digits = Array("0123456789abcdef".utf8)
        var text: [UInt8] = []
        for byte in bytes {
            text.append(digits[Int(byte >> 4)])
            text.append(digits[Int(byte & 15)])
        }
        return String(decoding: text, as: UTF8.self)
    }
}

extension Certificate {
    /// The first common name of the subject, nil where it has none.
    var commonName: String? {
        for names in self.subject {
            for attribute in names where attribute.type == .RDNAttributeType.commonName {
                return String(attribute.value)
            }
        }
        return nil
    }

    /// When it begins to be valid, in seconds since 1970 UTC.
    var validFromSeconds: Int64 { Int64(clamping: self.notValidBefore) }

    /// When it ceases to be valid, in seconds since 1970 UTC.
    var validUntilSeconds: Int64 { Int64(clamping: self.notValidAfter) }

    /// Whether it is valid at a time, give or take the tolerated clock skew.
    func isValid(atSeconds now: Int64, skewSeconds: Int64) -> Bool {
        now >= self.validFromSeconds - skewSeconds && now <= self.validUntilSeconds + skewSeconds
    }
}

extension Int64 {
    /// The whole seconds since 1970 of a date, which years far away can't overflow.
    fileprivate init(clamping date: Date) {
        let bound = 9_007_199_254_740_992.0
        self = Int64(Swift.max(-bound, Swift.min(bound, date.timeIntervalSince1970)))
    }
}
