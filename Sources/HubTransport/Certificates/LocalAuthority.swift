// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import Crypto
import CryptoExtras
public import FoundationEssentials
import SwiftASN1
public import X509

/// The kind of key that a certificate is made for.
public enum CertificateKeyKind: String, Sendable, CaseIterable {
    /// ECDSA on P-256: small and fast.
    case p256
    /// RSA with 2048 bits: for firmware that knows nothing else.
    case rsa2048

    func makeKey() throws -> Certificate.PrivateKey {
        switch self {
        case .p256: Certificate.PrivateKey(P256.Signing.PrivateKey())
        case .rsa2048: Certificate.PrivateKey(try _RSA.Signing.PrivateKey(keySize: .bits2048))
        }
    }
}

/// A certificate with its private key, both as PEM text.
public struct IssuedCertificate: Sendable {
    /// The certificate.
    public let certificate: Certificate
    /// The certificate as PEM text.
    public let certificatePEM: String
    /// The private key as PEM text: a secret.
    public let privateKeyPEM: String

    init(_ certificate: Certificate, _ key: Certificate.PrivateKey) throws {
        self.certificate = certificate
        certificatePEM = try certificate.serializeAsPEM().pemString + "\n"
        privateKeyPEM = try key.serializeAsPEM().pemString + "\n"
    }
}

/// The certificate authority that a data directory makes for itself, so that a hub speaks TLS from its first start.
public struct LocalAuthority: Sendable {
    /// The root certificate that clients trust.
    public let certificate: Certificate
    private let key: Certificate.PrivateKey

    /// How long a root is valid: ten years, as in Azure's own guides for test authorities.
    public static let rootDays = 3650
    /// How long a server certificate is valid; some platforms refuse more than 825 days.
    public static let leafDays = 397

    /// An authority from its files' text.
    ///
    /// - Throws: when the text is no certificate or no key.
    public init(certificatePEM: String, privateKeyPEM: String) throws {
        certificate = try Certificate(pemEncoded: certificatePEM)
        key = try Certificate.PrivateKey(pemEncoded: privateKeyPEM)
    }

    /// Makes a new root.
    public static func makeRoot(kind: CertificateKeyKind, now: Date) throws -> IssuedCertificate {
        let key = try kind.makeKey()
        let serial = Certificate.SerialNumber()
        // The serial in the name keeps two authorities of one machine apart in a trust store.
        let mark = serial.bytes.prefix(4).map { byte in
            let text = String(byte, radix: 16)
            return text.count == 1 ? "0" + text : text
        }.joined()
        let name = try DistinguishedName {
            OrganizationName("Roost")
            CommonName("Roost local CA \(mark)")
        }
        let certificate = try Certificate(
            version: .v3,
            serialNumber: serial,
            publicKey: key.publicKey,
            notValidBefore: now.addingTimeInterval(-backdatingSeconds),
            notValidAfter: now.addingTimeInterval(Double(rootDays) * 86_400),
            issuer: name,
            subject: name,
            extensions: try Certificate.Extensions {
                Critical(BasicConstraints.isCertificateAuthority(maxPathLength: 1))
                Critical(KeyUsage(keyCertSign: true, cRLSign: true))
                SubjectKeyIdentifier(hash: key.publicKey)
            },
            issuerPrivateKey: key
        )
        return try IssuedCertificate(certificate, key)
    }

    /// Issues a server certificate for `names`.
    public func issue(for names: SubjectNames, kind: CertificateKeyKind, now: Date) throws -> IssuedCertificate {
        let leafKey = try kind.makeKey()
        // OpenSSL refuses a common name longer than 64 characters; clients look at the alternative names anyway.
        let commonName = names.hostNames.first { $0.utf8.count <= 64 } ?? "localhost"
        let end = min(now.addingTimeInterval(Double(Self.leafDays) * 86_400), certificate.notValidAfter)
        let leaf = try Certificate(
            version: .v3,
            serialNumber: Certificate.SerialNumber(),
            publicKey: leafKey.publicKey,
            notValidBefore: now.addingTimeInterval(-Self.backdatingSeconds),
            notValidAfter: end,
            issuer: certificate.subject,
            subject: try DistinguishedName { CommonName(commonName) },
            extensions: try Certificate.Extensions {
                Critical(BasicConstraints.notCertificateAuthority)
                Critical(KeyUsage(digitalSignature: true, keyEncipherment: kind == .rsa2048))
                try ExtendedKeyUsage([.serverAuth])
                SubjectAlternativeNames(names.generalNames)
                AuthorityKeyIdentifier(keyIdentifier: SubjectKeyIdentifier(hash: certificate.publicKey).keyIdentifier)
                SubjectKeyIdentifier(hash: leafKey.publicKey)
            },
            issuerPrivateKey: key
        )
        return try IssuedCertificate(leaf, leafKey)
    }

    /// Devices without a battery-backed clock are often a little behind.
    private static let backdatingSeconds: Double = 3600
}
