// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import Crypto
import CryptoExtras
import FoundationEssentials
import SwiftASN1
import X509

/// Certificates made for one test, each with its key.
struct TestCertificate {
    let certificate: Certificate
    let key: Certificate.PrivateKey
    let der: [UInt8]

    static let now: Int64 = 1_800_000_000

    /// What a certificate shall say; the defaults are those of a good device certificate.
    struct Plan {
        var isAuthority = false
        var pathLength: Int?
        var keyUsage: KeyUsage?
        var extendedKeyUsage: [ExtendedKeyUsage.Usage]?
        var extra: Certificate.Extension?
        var version = Certificate.Version.v3
        var from: Int64 = now - 1000
        var until: Int64 = now + 1000
        var key: Certificate.PrivateKey?
    }

    /// Makes a certificate; without an issuer it signs itself.
    init(_ name: String, issuer: TestCertificate? = nil, change: (inout Plan) throws -> Void = { _ in }) throws {
        var plan = Plan()
        try change(&plan)
        let key = plan.key ?? Certificate.PrivateKey(P256.Signing.PrivateKey())
        let subject = try DistinguishedName {
            OrganizationName("Test")
            CommonName(name)
        }
        var extensions = Certificate.Extensions()
        if plan.version == .v3 {
            let constraints: BasicConstraints =
                plan.isAuthority ? .isCertificateAuthority(maxPathLength: plan.pathLength) : .notCertificateAuthority
            try extensions.append(Certificate.Extension(constraints, critical: true))
            if let usage = plan.keyUsage { try extensions.append(Certificate.Extension(usage, critical: true)) }
            if let usages = plan.extendedKeyUsage {
                try extensions.append(Certificate.Extension(ExtendedKeyUsage(usages), critical: false))
            }
            if let extra = plan.extra { try extensions.append(extra) }
        }
        certificate = try Certificate(
            version: plan.version,
            serialNumber: Certificate.SerialNumber(),
            publicKey: key.publicKey,
            notValidBefore: Date(timeIntervalSince1970: Double(plan.from)),
            notValidAfter: Date(timeIntervalSince1970: Double(plan.until)),
            issuer: issuer?.certificate.subject ?? subject,
            subject: subject,
            extensions: extensions,
            issuerPrivateKey: issuer?.key ?? key
        )
        self.key = key
        var serializer = DER.Serializer()
        try serializer.serialize(certificate)
        der = serializer.serializedBytes
    }

    static func authority(
        _ name: String,
        issuer: TestCertificate? = nil,
        change: (inout Plan) throws -> Void = { _ in }
    ) throws -> TestCertificate {
        try TestCertificate(name, issuer: issuer) {
            $0.isAuthority = true
            $0.until = now + 100_000
            try change(&$0)
        }
    }
}
