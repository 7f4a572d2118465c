// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

public import HubModel

/// Decides about one sign-in of a device or a module with a certificate from what is known; no store, no clock, no
/// waiting.
///
/// TLS has proved that the client holds the key of the first certificate. Whatever is unknown, disabled or wrong, the
/// thumbprints are taken and a path is looked for, so that neither text nor time tells which it was.
public struct DeviceCertificateDecision: Sendable {
    /// Who wants to sign in.
    public var id: IdentityID
    /// The identity as it is registered, nil if it is not.
    public var identity: RegisteredIdentity?
    /// The device of a module as it is registered; for a device the same as `identity`.
    public var device: RegisteredIdentity?

    /// Gathers what is known of an identity.
    public init(id: IdentityID, identity: RegisteredIdentity?, device: RegisteredIdentity?) {
        self.id = id
        self.identity = identity
        self.device = device
    }

    /// Accepts or refuses the certificates of a handshake, the client's own first.
    public func decide(
        _ chain: [[UInt8]],
        authorities: AuthorityTable,
        limits: CertificateLimits,
        clockSkewSeconds: Int64,
        nowSeconds: Int64
    ) -> Result<AuthenticatedIdentity, SignInRefusal> {
        let presented = chain.prefix(limits.chainLengthMax + 1).map {
            PresentedCertificate(der: $0, bytesMax: limits.certificateBytesMax)
        }
        guard let leaf = presented.first ?? nil else { return .failure(.malformedCertificate) }
        let slot = leaf.slot(in: self.identity?.thumbprints ?? CredentialPair())
        let path = CertificatePath.find(
            from: leaf.certificate,
            through: presented.dropFirst().compactMap { $0?.certificate },
            to: authorities.authorities,
            limits: limits,
            nowSeconds: nowSeconds,
            skewSeconds: clockSkewSeconds
        )
        guard leaf.certificate.isValid(atSeconds: nowSeconds, skewSeconds: clockSkewSeconds) else {
            return .failure(.expired)
        }
        guard let identity = self.identity, let device = self.device else { return .failure(.unknownIdentity) }
        let proof: (proof: DeviceProof, end: Int64)
        switch identity.authentication {
        case .sas, .none: return .failure(.wrongKind)
        case .selfSigned:
            guard let slot else { return .failure(.wrongCertificate) }
            proof = (.thumbprint(slot), leaf.certificate.validUntilSeconds)
        case .certificateAuthority:
            // Byte for byte: to Swift, texts that look alike may be equal, such as the Kelvin sign and K.
            guard leaf.certificate.commonName?.utf8.elementsEqual(self.id.description.utf8) == true else {
                return .failure(.wrongCertificate)
            }
            guard let path else { return .failure(.untrustedCertificate) }
            proof = (.certificateAuthority(thumbprint: path.authority), path.endsAtSeconds)
        }
        guard identity.status == .enabled, device.status == .enabled else { return .failure(.disabledIdentity) }
        return .success(
            AuthenticatedIdentity(
                id: self.id,
                generationID: identity.generationID,
                proof: proof.proof,
                expiresAtSeconds: proof.end
            )
        )
    }
}
