// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import HubModel
import SwiftASN1

/// A certificate as administrators hand it in: PEM text, or the base64 text of a PEM or DER file.
enum CertificateText {
    /// The certificate in DER form.
    ///
    /// Throws `.argumentInvalid` for what is none.
    static func der(_ text: String) throws(HubError) -> [UInt8] {
        let isPEM = text.contains(Self.mark)
        if isPEM { return try self.der(pem: text) }
        let base64 = text.filter { !$0.isWhitespace }
        guard let bytes = Base64.decode(base64), !bytes.isEmpty else { throw self.unreadable }
        let isPEMFile = bytes.starts(with: Self.mark.utf8)
        return isPEMFile ? try self.der(pem: String(decoding: bytes, as: UTF8.self)) : Array(bytes)
    }

    private static func der(pem: String) throws(HubError) -> [UInt8] {
        // Files of OpenSSL's may have text before the first line of the certificate.
        guard let start = pem.firstRange(of: Self.mark) else { throw self.unreadable }
        guard let end = pem[start.upperBound...].firstRange(of: Self.endMark) else { throw self.unreadable }
        do {
            return try PEMDocument(pemString: String(pem[start.lowerBound..<end.upperBound])).derBytes
        } catch {
            throw self.unreadable
        }
    }

    private static let mark = "-----BEGIN CERTIFICATE-----"
    private static let endMark = "-----END CERTIFICATE-----"
    private static let unreadable = HubError(
        .argumentInvalid,
        "A certificate is given as PEM text, or as the base64 text of its file."
    )
}
