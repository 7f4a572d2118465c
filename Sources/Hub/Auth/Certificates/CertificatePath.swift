// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import Crypto
import CryptoExtras
import HubModel
import SwiftASN1
import X509

/// The search for a path from a device's certificate to a registered authority (docs/wire/security.md#certificates).
///
/// Any registered authority ends a path, be it a root or an intermediate one. The rules are stricter than those of the
/// library's own verifier in what may issue (a certificate of version 1 may not), and the work is bounded: whoever can
/// open a connection may present what he likes.
struct CertificatePath {
    /// A path that holds.
    struct Found: Equatable {
        /// The thumbprint of the authority it ends at.
        var authority: String
        /// When the first certificate on it ceases to be valid, in seconds since 1970 UTC.
        var endsAtSeconds: Int64
    }

    private let issuers: [Certificate]
    private let authorities: [TrustedAuthority]
    private let limits: CertificateLimits
    private let nowSeconds: Int64
    private let skewSeconds: Int64
    private var checksLeft: Int

    private init(
        issuers: [Certificate],
        authorities: [TrustedAuthority],
        limits: CertificateLimits,
        nowSeconds: Int64,
        skewSeconds: Int64
    ) {
        self.issuers = issuers
        self.authorities = authorities
        self.limits = limits
        self.nowSeconds = nowSeconds
        self.skewSeconds = skewSeconds
        self.checksLeft = limits.signatureChecksMax
    }

    /// Finds a path for `leaf` through some of `issuers`, in any order, to one of `authorities`; nil where none holds.
    static func find(
        from leaf: Certificate,
        through issuers: [Certificate],
        to authorities: [TrustedAuthority],
        limits: CertificateLimits,
        nowSeconds: Int64,
        skewSeconds: Int64
    ) -> Found? {
        guard issuers.count < limits.chainLengthMax else { return nil }
        var search = CertificatePath(
            issuers: issuers,
            authorities: authorities,
            limits: limits,
            nowSeconds: nowSeconds,
            skewSeconds: skewSeconds
        )
        guard search.mayBePresented(leaf), Self.mayAuthenticateClients(leaf) else { return nil }
        return search.extend(from: leaf, used: [], pathLength: 0, endsAtSeconds: leaf.validUntilSeconds)
    }

    /// Goes on from the last certificate of a path that holds so far.
    ///
    /// `used` are the places of those on it among `issuers`; `pathLength` is how many of them count against the length
    /// that an authority allows (RFC 5280 4.2.1.9).
    private mutating func extend(
        from tip: Certificate,
        used: [Int],
        pathLength: Int,
        endsAtSeconds: Int64
    ) -> Found? {
        for authority in self.authorities
        where self.issued(authority.certificate, tip, pathLength: pathLength) {
            let end = min(endsAtSeconds, authority.certificate.validUntilSeconds)
            return Found(authority: authority.thumbprint, endsAtSeconds: end)
        }
        // The device's certificate and the authority's count, too.
        guard used.count + 2 < self.limits.chainLengthMax else { return nil }
        for (place, issuer) in self.issuers.enumerated() where !used.contains(place) {
            guard self.mayBePresented(issuer), self.issued(issuer, tip, pathLength: pathLength) else { continue }
            let found = self.extend(
                from: issuer,
                used: used + [place],
                pathLength: pathLength + (issuer.issuer == issuer.subject ? 0 : 1),
                endsAtSeconds: min(endsAtSeconds, issuer.validUntilSeconds)
            )
            if let found { return found }
        }
        return nil
    }

    /// Whether one certificate may issue, and has issued, another one.
    private mutating func issued(_ issuer: Certificate, _ subject: Certificate, pathLength: Int) -> Bool {
        guard issuer.subject == subject.issuer, self.isGood(issuer), Self.mayIssue(issuer, pathLength: pathLength),
            self.checksLeft > 0
        else { return false }
        self.checksLeft -= 1
        return issuer.publicKey.isValidSignature(subject.signature, for: subject)
    }

    /// Whether a certificate is valid now, says nothing critical that is not understood, and has a key of some strength.
    private func isGood(_ certificate: Certificate) -> Bool {
        certificate.isValid(atSeconds: self.nowSeconds, skewSeconds: self.skewSeconds)
            && Self.isUnderstood(certificate)
            && Self.hasStrongKey(certificate.publicKey)
    }

    /// Whether a certificate demands nothing that is not evaluated here, such as name constraints (RFC 5280, 4.2).
    static func isUnderstood(_ certificate: Certificate) -> Bool {
        certificate.extensions.allSatisfy { !$0.critical || Self.understood.contains($0.oid) }
    }

    /// Whether a certificate that a client presents is good, its signature's method included.
    private func mayBePresented(_ certificate: Certificate) -> Bool {
        self.isGood(certificate) && Self.strongSignatures.contains(certificate.signatureAlgorithm)
    }

    /// Whether a certificate is an authority's that may sign certificates of others, with so many in between.
    static func mayIssue(_ certificate: Certificate, pathLength: Int) -> Bool {
        do {
            guard case .isCertificateAuthority(let longest) = try certificate.extensions.basicConstraints else {
                return false
            }
            guard longest.map({ pathLength <= $0 }) ?? true else { return false }
            return try certificate.extensions.keyUsage?.keyCertSign ?? true
        } catch {
            return false
        }
    }

    private static func mayAuthenticateClients(_ certificate: Certificate) -> Bool {
        do {
            guard let usages = try certificate.extensions.extendedKeyUsage else { return true }
            return usages.contains(.clientAuth) || usages.contains(.any)
        } catch {
            return false
        }
    }

    /// Whether a key is of a kind and length that is not to be broken in the life of a device.
    static func hasStrongKey(_ key: Certificate.PublicKey) -> Bool {
        if let rsa = _RSA.Signing.PublicKey(key) { return rsa.keySizeInBits >= 2048 }
        return P256.Signing.PublicKey(key) != nil || P384.Signing.PublicKey(key) != nil
            || P521.Signing.PublicKey(key) != nil
    }

    static let strongSignatures: Set<Certificate.SignatureAlgorithm> = [
        .ecdsaWithSHA256, .ecdsaWithSHA384, .ecdsaWithSHA512,
        .sha256WithRSAEncryption, .sha384WithRSAEncryption, .sha512WithRSAEncryption,
    ]

    /// Extensions that the rules above obey; alternative names stand for nothing here.
    private static let understood: Set<ASN1ObjectIdentifier> = [
        .X509ExtensionID.basicConstraints, .X509ExtensionID.keyUsage, .X509ExtensionID.extendedKeyUsage,
        .X509ExtensionID.subjectAlternativeName,
    ]
}
