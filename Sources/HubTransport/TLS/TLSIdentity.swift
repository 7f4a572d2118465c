// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import NIOCore
public import NIOSSL
import Synchronization

/// The server's side of TLS: certificates, versions and ciphers.
public struct TLSSettings: Sendable {
    /// The oldest protocol version; nothing under 1.2 can be asked for.
    public enum Version: String, Sendable, CaseIterable {
        /// TLS 1.2, the only version of the Python device SDK.
        case v12 = "1.2"
        /// TLS 1.3.
        case v13 = "1.3"
    }

    /// The certificate for clients that name no host, or one without a certificate of its own.
    public var certificate: CertificateFiles
    /// Certificates for clients that ask for certain host names (SNI), in small letters.
    public var certificatesByHost: [String: CertificateFiles] = [:]
    /// The oldest version that is spoken.
    public var minimumVersion: Version = .v12
    /// Whether TLS 1.2 may also use CBC ciphers, for very old clients.
    public var allowsCBC = false

    /// Settings with one certificate.
    public init(certificate: CertificateFiles) {
        self.certificate = certificate
    }
}

/// What the server shows to TLS clients; it can be replaced while connections live on.
///
/// New handshakes use what was loaded last. Safe to use from any thread.
public final class TLSIdentity: Sendable {
    private struct Loaded {
        var source: [CertificateFiles: [[UInt8]]]
        var plain: NIOSSLContext
        var requesting: NIOSSLContext
    }

    private let settings: TLSSettings
    private let verification:
        @Sendable ([NIOSSLCertificate], EventLoopPromise<NIOSSLVerificationResultWithMetadata>) -> Void
    private let loaded: Mutex<Loaded>

    /// Loads the files.
    ///
    /// - Throws: `ExposedSecret` when others can read a private key, `CertificateProblem` when a file doesn't hold what it should.
    public init(_ settings: TLSSettings, limits: TransportLimits = TransportLimits()) throws {
        self.settings = settings
        let certificatesMax = limits.clientChainCertificatesMax
        let bytesMax = limits.clientChainBytesMax
        // Any certificate is let in, unknown or expired ones too: whether it opens anything is decided when the device signs
        // in, with the protocol's own refusal. That the client holds the key is checked by TLS itself. What is handed on as
        // validated is what was presented: it is kept with the connection for that decision (see PeerCertificates).
        verification = { certificates, promise in
            guard certificates.count <= certificatesMax else { return promise.succeed(.failed) }
            do {
                let size = try certificates.reduce(0) { try $0 + $1.toDERBytes().count }
                let chain = certificates.isEmpty ? nil : ValidatedCertificateChain(certificates)
                promise.succeed(size <= bytesMax ? .certificateVerified(VerificationMetadata(chain)) : .failed)
            } catch {
                promise.succeed(.failed)
            }
        }
        loaded = Mutex(try Self.load(settings))
    }

    /// Reads the files again.
    ///
    /// - Returns: whether they had changed.
    /// - Throws: as `init`; what was loaded before stays in use.
    public func reload() throws -> Bool {
        let source = try Self.read(settings)
        guard loaded.withLock({ $0.source != source }) else { return false }
        let fresh = try Self.load(settings)
        loaded.withLock { $0 = fresh }
        return true
    }

    /// The handler that does TLS for one new connection.
    ///
    /// - Parameter requestsClientCertificate: whether clients are asked for a certificate; they need not have one.
    /// - Returns: a handler for one connection.
    public func makeHandler(requestsClientCertificate: Bool) -> NIOSSLServerHandler {
        guard requestsClientCertificate else { return NIOSSLServerHandler(context: loaded.withLock { $0.plain }) }
        return NIOSSLServerHandler(
            context: loaded.withLock { $0.requesting },
            customVerificationCallbackWithMetadata: verification
        )
    }

    private static func read(_ settings: TLSSettings) throws -> [CertificateFiles: [[UInt8]]] {
        var result: [CertificateFiles: [[UInt8]]] = [:]
        for files in [settings.certificate] + settings.certificatesByHost.values {
            try SecretFile.checkPrivate(files.privateKey)
            result[files] = [try SecretFile.read(files.chain), try SecretFile.read(files.privateKey)]
        }
        return result
    }

    private static func load(_ settings: TLSSettings) throws -> Loaded {
        let source = try read(settings)
        var pairs: [CertificateFiles: CertificatePair] = [:]
        for (files, bytes) in source {
            pairs[files] = try CertificatePair(files, chain: bytes[0], privateKey: bytes[1])
        }
        guard let pair = pairs[settings.certificate] else {
            throw CertificateProblem(file: settings.certificate.chain, reason: "was not read")
        }
        var configuration = TLSConfiguration.makeServerConfiguration(
            certificateChain: pair.chain.map { .certificate($0) },
            privateKey: .privateKey(pair.privateKey)
        )
        configuration.minimumTLSVersion = settings.minimumVersion == .v13 ? .tlsv13 : .tlsv12
        configuration.cipherSuiteValues = strongCiphers + (settings.allowsCBC ? cbcCiphers : [])
        configuration.renegotiationSupport = .none
        let byHost = settings.certificatesByHost.compactMapValues { files in
            pairs[files].map { pair in
                var override = NIOSSLContextConfigurationOverride()
                override.certificateChain = pair.chain.map { .certificate($0) }
                override.privateKey = .privateKey(pair.privateKey)
                return override
            }
        }
        if !byHost.isEmpty {
            configuration.sslContextCallback = { values, promise in
                promise.succeed(values.serverHostname.flatMap { byHost[$0.lowercased()] } ?? .noChanges)
            }
        }
        do {
            let plain = try NIOSSLContext(configuration: configuration)
            // Requested, not required; the list of authorities stays empty, so that clients don't filter theirs.
            configuration.certificateVerification = .optionalVerification
            configuration.verifySignatureAlgorithms = clientSignatures
            return Loaded(source: source, plain: plain, requesting: try NIOSSLContext(configuration: configuration))
        } catch {
            throw CertificateProblem(
                file: settings.certificate.chain,
                reason: "and its private key \(settings.certificate.privateKey) can't be used together: \(error)"
            )
        }
    }

    private static let strongCiphers: [NIOTLSCipher] = [
        .TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, .TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
        .TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, .TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
        .TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256, .TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
    ]

    /// By which clients prove that they hold the key of their certificate: those of the keys that sign-ins take, which the
    /// library's own list lacks P-521 of, and nothing with SHA-1, which it has.
    private static let clientSignatures: [SignatureAlgorithm] = [
        .ecdsaSecp256R1Sha256, .ecdsaSecp384R1Sha384, .ecdsaSecp521R1Sha512,
        .rsaPssRsaeSha256, .rsaPssRsaeSha384, .rsaPssRsaeSha512,
        .rsaPkcs1Sha256, .rsaPkcs1Sha384, .rsaPkcs1Sha512,
    ]

    private static let cbcCiphers: [NIOTLSCipher] = [
        .TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA, .TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA,
        .TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA, .TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA,
    ]
}

/// A chain and its key, parsed.
private struct CertificatePair {
    let chain: [NIOSSLCertificate]
    let privateKey: NIOSSLPrivateKey

    init(_ files: CertificateFiles, chain chainBytes: [UInt8], privateKey keyBytes: [UInt8]) throws {
        do {
            chain = try NIOSSLCertificate.fromPEMBytes(chainBytes)
        } catch {
            throw CertificateProblem(file: files.chain, reason: "holds no certificate in PEM form")
        }
        do {
            privateKey = try NIOSSLPrivateKey(bytes: keyBytes, format: .pem)
        } catch {
            throw CertificateProblem(
                file: files.privateKey,
                reason: "holds no private key in PEM form without a password"
            )
        }
    }
}

/// A certificate file that can't be used.
public struct CertificateProblem: Error, CustomStringConvertible {
    /// The file.
    public let file: String
    /// What is wrong with it, as the rest of a sentence.
    public let reason: String

    /// One line for people.
    public var description: String { "\(file) \(reason)" }
}
