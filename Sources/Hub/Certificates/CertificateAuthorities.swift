// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

public import HubModel
public import Logging
import X509

/// The certificate authorities of a hub: which are registered, and whose key somebody has shown to hold.
///
/// What returned is durable, in force for new sign-ins, and the connections that it shuts out are being closed.
public final class CertificateAuthorities: Sendable {
    private let store: any AuthorityStore
    private let table: AuthorityTable
    private let bus: any HubBus
    private let limits: Limits
    private let clock: HubClock
    private let logger: Logger

    /// Administers the authorities of a store; `table` is what sign-ins read.
    public init(
        store: any AuthorityStore,
        table: AuthorityTable,
        bus: any HubBus,
        limits: Limits,
        clock: HubClock,
        logger: Logger
    ) {
        self.store = store
        self.table = table
        self.bus = bus
        self.limits = limits
        self.clock = clock
        self.logger = logger
    }

    /// Takes the authorities that are stored into force; at the start of a hub.
    public func load() async throws {
        let reload = self.table.beginReload()
        let all = try await self.store.authorities()
        self.table.replace(with: all.filter(\.isVerified).map(\.certificate), reload: reload)
    }

    /// Lists all authorities, ordered by name.
    public func list() async throws -> [CertificateAuthority] { try await self.store.authorities() }

    /// Returns an authority.
    ///
    /// - Throws: `.certificateNotFound`
    public func authority(_ name: String) async throws -> CertificateAuthority {
        guard let authority = try await self.store.authority(name) else {
            throw HubError(.certificateNotFound, "There is no certificate authority '\(name)'.")
        }
        return authority
    }

    /// Registers an authority, or changes the registered one.
    ///
    /// - Parameters:
    ///   - name: what it is called
    ///   - text: its certificate, as PEM text or as the base64 text of its file
    ///   - isVerified: true to do without the proof that its key is held; nil leaves a registered one as it is, unless
    ///     the certificate is another one
    ///   - ifMatch: which version is meant, nil for any and for none
    /// - Returns: the authority as it is now
    /// - Throws: `.argumentInvalid`, `.preconditionFailed`, `.certificateNotFound`, `.quotaExceeded`
    public func put(
        _ name: String,
        certificate text: String,
        isVerified: Bool?,
        ifMatch: IfMatch?
    ) async throws -> CertificateAuthority {
        guard CertificateAuthority.isLegalName(name) else {
            throw HubError(.argumentInvalid, "The name has 1 to 64 letters, digits, '-', '.' and '_'.")
        }
        let der = try CertificateText.der(text)
        try self.checkAuthority(der)
        let existing = try await self.store.authority(name)
        let kept = existing.flatMap { $0.certificate == der ? $0 : nil }
        let authority = CertificateAuthority(
            name: name,
            etag: IdentityRules.newETag(otherThan: existing?.etag),
            certificate: der,
            isVerified: isVerified ?? kept?.isVerified ?? false,
            verificationCode: kept?.verificationCode,
            createdMilliseconds: existing?.createdMilliseconds ?? self.clock.milliseconds,
            updatedMilliseconds: self.clock.milliseconds
        )
        try await self.store.put(authority, try Self.condition(ifMatch, existing, mayBeNew: true))
        if authority.isVerified, kept?.isVerified != true {
            self.audit("A certificate authority was taken as verified without a proof of its key.", authority)
        } else {
            self.audit("A certificate authority was registered.", authority)
        }
        try await self.refresh()
        return authority
    }

    /// Removes an authority; its devices' connections end.
    ///
    /// - Throws: `.certificateNotFound`, `.preconditionFailed`
    public func remove(_ name: String, ifMatch: IfMatch?) async throws {
        let existing = try await self.authority(name)
        try await self.store.remove(name, try Self.condition(ifMatch, existing, mayBeNew: false))
        self.audit("A certificate authority was removed.", existing)
        try await self.refresh()
    }

    /// Makes a new code for the proof that an authority's key is held; an older one is of no use any more.
    ///
    /// - Throws: `.certificateNotFound`, `.preconditionFailed`
    public func makeVerificationCode(_ name: String, ifMatch: IfMatch?) async throws -> CertificateAuthority {
        try await self.change(name, ifMatch) { $0.verificationCode = Self.newCode() }
    }

    /// Takes a certificate that proves that an authority's key is held: one that is made out to the code, and signed.
    ///
    /// - Throws: `.argumentInvalid` for a certificate that proves nothing, `.certificateNotFound`, `.preconditionFailed`
    public func verify(_ name: String, proof text: String, ifMatch: IfMatch?) async throws -> CertificateAuthority {
        let der = try CertificateText.der(text)
        let (now, limits, skew) = (self.clock.seconds, self.limits.certificates, self.limits.clockSkewSeconds)
        let verified = try await self.change(name, ifMatch) { authority throws(HubError) in
            let proof = ProofOfPossession(limits: limits, nowSeconds: now, skewSeconds: skew)
            if let reason = proof.refusal(of: der, for: authority) { throw HubError(.argumentInvalid, reason) }
            authority.isVerified = true
            // A code is good for one proof.
            authority.verificationCode = nil
        }
        self.audit("A certificate authority was verified.", verified)
        try await self.refresh()
        return verified
    }

    /// Whether certificates, a client's own first, lead to a verified authority now.
    public func vouch(for chain: [[UInt8]]) -> Bool {
        let limits = self.limits.certificates
        let read = chain.prefix(limits.chainLengthMax + 1).map {
            PresentedCertificate(der: $0, bytesMax: limits.certificateBytesMax)?.certificate
        }
        guard let leaf = read.first ?? nil else { return false }
        let path = CertificatePath.find(
            from: leaf,
            through: read.dropFirst().compactMap { $0 },
            to: self.table.authorities,
            limits: limits,
            nowSeconds: self.clock.seconds,
            skewSeconds: self.limits.clockSkewSeconds
        )
        return path != nil
    }

    // MARK: Parts

    private func change(
        _ name: String,
        _ ifMatch: IfMatch?,
        _ body: (inout CertificateAuthority) throws(HubError) -> Void
    ) async throws -> CertificateAuthority {
        let existing = try await self.authority(name)
        let condition = try Self.condition(ifMatch, existing, mayBeNew: false)
        var authority = existing
        try body(&authority)
        authority.etag = IdentityRules.newETag(otherThan: existing.etag)
        authority.updatedMilliseconds = self.clock.milliseconds
        try await self.store.put(authority, condition)
        return authority
    }

    /// Takes what is stored now into force, and ends what rests on what no longer is.
    private func refresh() async throws {
        try await self.load()
        self.bus.broadcast(.authoritiesChanged)
    }

    /// On what condition a write may take place: always that nothing came in between.
    private static func condition(
        _ ifMatch: IfMatch?,
        _ existing: CertificateAuthority?,
        mayBeNew: Bool
    ) throws(HubError) -> WriteCondition {
        guard let existing else { return ifMatch == nil && mayBeNew ? .absent : .present }
        if case .etags(let tags)? = ifMatch, !tags.contains(existing.etag) {
            throw HubError(.preconditionFailed, "The entity tag is not the current one.")
        }
        return .matches(etag: existing.etag)
    }

    private func checkAuthority(_ der: [UInt8]) throws(HubError) {
        guard let read = PresentedCertificate(der: der, bytesMax: self.limits.certificates.certificateBytesMax) else {
            throw HubError(.argumentInvalid, "The certificate can't be read, or is too large.")
        }
        guard CertificatePath.mayIssue(read.certificate, pathLength: 0) else {
            throw HubError(.argumentInvalid, "The certificate is not that of a certificate authority.")
        }
        guard CertificatePath.hasStrongKey(read.certificate.publicKey) else {
            throw HubError(.argumentInvalid, "The key is not RSA with 2,048 bits or more, P-256, P-384 or P-521.")
        }
        guard CertificatePath.isUnderstood(read.certificate) else {
            throw HubError(
                .argumentInvalid,
                "The certificate has a critical extension that the hub does not evaluate, such as name constraints."
            )
        }
        let now = self.clock.seconds
        guard read.certificate.isValid(atSeconds: now, skewSeconds: self.limits.clockSkewSeconds) else {
            throw HubError(.argumentInvalid, "The certificate is not valid at this time.")
        }
    }

    /// 192 random bits as 48 capital hexadecimal digits.
    private static func newCode() -> String {
        (0..<48).map { _ in String(UInt8.random(in: 0..<16), radix: 16, uppercase: true) }.joined()
    }

    private func audit(_ text: Logger.Message, _ authority: CertificateAuthority) {
        self.logger.notice(
            text,
            metadata: [
                "audit": "true", "authority": "\(authority.name)",
                "thumbprint": "\(PresentedCertificate.sha256(authority.certificate))",
            ]
        )
    }
}
