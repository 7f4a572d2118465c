// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

public import FoundationEssentials
import SwiftASN1
public import X509

/// Issues certificates to devices, for a test bench or a fleet without an authority of its own.
///
/// It has nothing to do with the authority of the hub's own server certificate (``LocalAuthority``).
public struct CertificateIssuer: Sendable {
    /// What a new certificate is to be.
    public struct Plan: Sendable {
        /// The common name of the subject.
        public var commonName: String
        /// The kind of its key.
        public var kind: CertificateKeyKind
        /// How many days it is valid.
        public var days: Int
        /// When it is made.
        public var now: Date

        /// Plans a certificate.
        public init(commonName: String, kind: CertificateKeyKind, days: Int, now: Date) {
            self.commonName = commonName
            self.kind = kind
            self.days = days
            self.now = now
        }
    }

    /// The certificate of the authority that issues.
    public let certificate: Certificate
    private let key: Certificate.PrivateKey

    /// An authority from its files' text.
    ///
    /// - Throws: when the text is no certificate or no key, or they don't belong together
    public init(certificatePEM: String, privateKeyPEM: String) throws {
        certificate = try Certificate(pemEncoded: certificatePEM)
        key = try Certificate.PrivateKey(pemEncoded: privateKeyPEM)
        guard certificate.publicKey == key.publicKey else { throw MismatchedKey() }
    }

    /// Makes a root authority.
    public static func makeRoot(_ plan: Plan, pathLength: Int?) throws -> IssuedCertificate {
        try Self.make(plan, issuer: nil) { try Self.authorityExtensions($0, pathLength: pathLength) }
    }

    /// Makes a certificate that signs itself, for a device whose thumbprint is registered.
    public static func makeSelfSigned(_ plan: Plan) throws -> IssuedCertificate {
        try Self.make(plan, issuer: nil) { try Self.deviceExtensions($0, plan.kind) }
    }

    /// Issues the certificate of an intermediate authority.
    public func issueAuthority(_ plan: Plan, pathLength: Int?) throws -> IssuedCertificate {
        try Self.make(plan, issuer: self) { try Self.authorityExtensions($0, pathLength: pathLength) }
    }

    /// Issues the certificate of a device, a module, or of whoever proves that he holds this authority's key.
    public func issueLeaf(_ plan: Plan) throws -> IssuedCertificate {
        try Self.make(plan, issuer: self) { try Self.deviceExtensions($0, plan.kind) }
    }

    private static func make(
        _ plan: Plan,
        issuer: CertificateIssuer?,
        extensions: (Certificate.PublicKey) throws -> Certificate.Extensions
    ) throws -> IssuedCertificate {
        let key = try plan.kind.makeKey()
        let subject = try DistinguishedName { CommonName(plan.commonName) }
        var extensions = try extensions(key.publicKey)
        if let issuer {
            let identifier = SubjectKeyIdentifier(hash: issuer.certificate.publicKey).keyIdentifier
            try extensions.append(
                Certificate.Extension(AuthorityKeyIdentifier(keyIdentifier: identifier), critical: false)
            )
        }
        let end = plan.now.addingTimeInterval(Double(plan.days) * 86_400)
        let certificate = try Certificate(
            version: .v3,
            serialNumber: Certificate.SerialNumber(),
            publicKey: key.publicKey,
            // Devices without a battery-backed clock are often a little behind.
            notValidBefore: plan.now.addingTimeInterval(-3600),
            notValidAfter: issuer.map { min(end, $0.certificate.notValidAfter) } ?? end,
            issuer: issuer?.certificate.subject ?? subject,
            subject: subject,
            extensions: extensions,
            issuerPrivateKey: issuer?.key ?? key
        )
        return try IssuedCertificate(certificate, key)
    }

    private static func authorityExtensions(
        _ key: Certificate.PublicKey,
        pathLength: Int?
    ) throws -> Certificate.Extensions {
        try Certificate.Extensions {
            Critical(BasicConstraints.isCertificateAuthority(maxPathLength: pathLength))
            Critical(KeyUsage(keyCertSign: true, cRLSign: true))
            SubjectKeyIdentifier(hash: key)
        }
    }

    private static func deviceExtensions(
        _ key: Certificate.PublicKey,
        _ kind: CertificateKeyKind
    ) throws -> Certificate.Extensions {
        try Certificate.Extensions {
            Critical(BasicConstraints.notCertificateAuthority)
            Critical(KeyUsage(digitalSignature: true, keyEncipherment: kind == .rsa2048))
            try ExtendedKeyUsage([.clientAuth])
            SubjectKeyIdentifier(hash: key)
        }
    }
}

/// A private key that is not that of the certificate beside it.
public struct MismatchedKey: Error, CustomStringConvertible {
    /// One line for people.
    public let description = "the private key is not that of the certificate"
}
