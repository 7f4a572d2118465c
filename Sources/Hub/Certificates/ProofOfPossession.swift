// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import HubModel
import X509

/// Judges the certificate by which somebody shows that he holds an authority's key; no store, no clock.
struct ProofOfPossession {
    let limits: CertificateLimits
    let nowSeconds: Int64
    let skewSeconds: Int64

    /// Why a certificate in DER form is no proof for an authority, as a sentence; nil where it is one.
    func refusal(of der: [UInt8], for authority: CertificateAuthority) -> String? {
        guard let code = authority.verificationCode else {
            return "No verification code was asked for since the last proof; ask for one."
        }
        guard let proof = PresentedCertificate(der: der, bytesMax: self.limits.certificateBytesMax)?.certificate,
            let own = PresentedCertificate(der: authority.certificate, bytesMax: .max)?.certificate
        else { return "The certificate can't be read, or is too large." }
        guard proof.commonName == code else {
            return "The common name of the certificate is not the verification code."
        }
        guard proof.isValid(atSeconds: self.nowSeconds, skewSeconds: self.skewSeconds) else {
            return "The certificate is not valid at this time."
        }
        guard proof.issuer == own.subject, CertificatePath.strongSignatures.contains(proof.signatureAlgorithm),
            own.publicKey.isValidSignature(proof.signature, for: proof)
        else { return "The certificate is not signed with the authority's key." }
        return nil
    }
}
