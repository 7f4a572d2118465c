// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

public import NIOCore
import NIOSSL
import SwiftASN1
import Synchronization
import X509

/// Finds what a channel's client presented in its TLS handshake; safe to use from any thread, on the channel's loop.
///
/// A client that resumes a TLS session presents nothing, and of the earlier handshake only its own certificate comes
/// with the session. The rest, which leads to an authority, is remembered here by who issued that certificate: one entry
/// for each issuer, however many devices it has. What leads to no authority is not remembered, so that strangers can't push
/// out what others need.
public final class PeerCertificates: Sendable {
    /// Who issued a certificate: the name, and the identifier of the key where the certificate has it.
    private struct Issuer: Hashable {
        let name: DistinguishedName
        let keyIdentifier: [UInt8]?

        /// Reads it from a certificate in DER form; nil for what is none.
        init?(of der: [UInt8]) {
            guard let certificate = try? Certificate(derEncoded: der) else { return nil }
            self.name = certificate.issuer
            let identifier = try? certificate.extensions.authorityKeyIdentifier
            self.keyIdentifier = identifier?.keyIdentifier.map { Array($0) }
        }
    }

    private let remembered = Mutex<[Issuer: [[UInt8]]]>([:])
    private let rememberedMax: Int
    private let isTrusted: @Sendable ([[UInt8]]) -> Bool

    /// Remembers the chains of at most `limits.rememberedChainsMax` issuers.
    ///
    /// `isTrusted` says whether certificates, a client's own first, lead to a registered authority.
    public init(
        limits: TransportLimits = TransportLimits(),
        isTrusted: @escaping @Sendable ([[UInt8]]) -> Bool
    ) {
        self.rememberedMax = limits.rememberedChainsMax
        self.isTrusted = isTrusted
    }

    /// The certificates of a channel's client in DER form, its own first; none where it presented none, or without TLS.
    ///
    /// Called on the channel's loop, after the handshake: only then is it proved that the client holds the key.
    public func certificates(of channel: any Channel) -> [[UInt8]] {
        let pipeline = channel.pipeline.syncOperations
        // Without TLS there is no such handler, which is no failure.
        guard let tls = try? pipeline.handler(type: NIOSSLHandler.self) else { return [] }
        if let chain = tls.peerValidatedCertificateChain {
            let presented = Self.bytes(of: Array(chain))
            self.remember(presented)
            return presented
        }
        guard let own = tls.peerCertificate.map({ Self.bytes(of: [$0]) })?.first else { return [] }
        return self.completed(own)
    }

    /// A client's own certificate with those behind it that were remembered.
    func completed(_ own: [UInt8]) -> [[UInt8]] {
        guard let issuer = Issuer(of: own) else { return [own] }
        return [own] + (self.remembered.withLock { $0[issuer] } ?? [])
    }

    /// Remembers what stands behind a client's own certificate.
    func remember(_ chain: [[UInt8]]) {
        guard chain.count > 1, let issuer = Issuer(of: chain[0]) else { return }
        let rest = Array(chain.dropFirst())
        guard self.remembered.withLock({ $0[issuer] }) != rest, self.isTrusted(chain) else { return }
        self.remembered.withLock { remembered in
            // Forgetting all is rare: only that many issuers of registered authorities lead to it.
            if remembered.count >= self.rememberedMax { remembered.removeAll() }
            remembered[issuer] = rest
        }
    }

    private static func bytes(of certificates: [NIOSSLCertificate]) -> [[UInt8]] {
        var result: [[UInt8]] = []
        for certificate in certificates {
            // What was read from the wire can be written again; if not, what follows is of no use either.
            guard let bytes = try? certificate.toDERBytes() else { return result }
            result.append(bytes)
        }
        return result
    }
}
