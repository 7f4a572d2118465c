// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

public import NIOCore
import NIOSSL
import Synchronization

/// Finds what a channel's client presented in its TLS handshake; safe to use from any thread, on the channel's loop.
///
/// A client that resumes a TLS session presents nothing, and of the earlier handshake only its own certificate comes
/// with the session. The rest, which leads to an authority, is remembered here.
public final class PeerCertificates: Sendable {
    private let remembered = Mutex<[[UInt8]: [[UInt8]]]>([:])
    private let rememberedMax: Int

    /// Remembers the issuers of at most `limits.rememberedChainsMax` clients.
    public init(limits: TransportLimits = TransportLimits()) {
        self.rememberedMax = limits.rememberedChainsMax
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
            if presented.count > 1 { self.remember(presented) }
            return presented
        }
        guard let own = tls.peerCertificate.map({ Self.bytes(of: [$0]) })?.first else { return [] }
        return self.remembered.withLock { $0[own] } ?? [own]
    }

    private func remember(_ chain: [[UInt8]]) {
        self.remembered.withLock { remembered in
            // Forgetting all is rare, and costs one full handshake each.
            if remembered.count >= self.rememberedMax { remembered.removeAll() }
            remembered[chain[0]] = chain
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
