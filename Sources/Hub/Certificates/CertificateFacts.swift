// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import X509

/// What documents say of a certificate.
public struct CertificateFacts: Sendable, Hashable {
    /// The subject, as text.
    public let subject: String
    /// When it ceases to be valid, in seconds since 1970 UTC.
    public let expiresSeconds: Int64
    /// SHA-1 of its DER form, in capital hexadecimal digits.
    public let thumbprint: String

    /// Reads a certificate in DER form; nil where it is none.
    public init?(der: [UInt8]) {
        guard let read = PresentedCertificate(der: der, bytesMax: .max) else { return nil }
        self.subject = read.certificate.subject.description
        self.expiresSeconds = read.certificate.validUntilSeconds
        self.thumbprint = PresentedCertificate.sha1(der).uppercased()
    }
}
