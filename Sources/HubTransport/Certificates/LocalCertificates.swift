// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

public import FoundationEssentials
import Glibc
public import Logging
import SwiftASN1
import X509

/// The authority and the server certificate that live in a data directory.
public struct LocalCertificates: Sendable {
    /// The folder that holds the four files.
    public let directory: String
    /// What the server certificate must cover.
    public let names: SubjectNames
    /// The kind of key of certificates made from now on.
    public let kind: CertificateKeyKind

    /// Certificates in `directory`, which is made with mode 0700 when missing.
    public init(directory: String, names: SubjectNames, kind: CertificateKeyKind = .p256) {
        self.directory = directory
        self.names = names
        self.kind = kind
    }

    /// The root certificate, the file that clients are told to trust.
    public var authorityFile: String { directory + "/ca.pem" }
    /// The root's private key.
    public var authorityKeyFile: String { directory + "/ca.key" }
    /// What the server presents.
    public var serverFiles: CertificateFiles {
        CertificateFiles(chain: directory + "/server.pem", privateKey: directory + "/server.key")
    }

    /// Makes what is missing, and a new server certificate when the old one ends soon or lacks a name.
    ///
    /// - Returns: whether the server certificate is a new one.
    /// - Throws: `ExposedSecret` when a key file can be read by others, `FileError` or a certificate error.
    @discardableResult
    public func ensure(now: Date, logger: Logger) throws -> Bool {
        guard mkdir(directory, 0o700) == 0 || errno == EEXIST else {
            throw FileError(path: directory, action: "create", errno: errno)
        }
        let authority = try ensureAuthority(now: now, logger: logger)
        guard let reason = try renewalReason(authority: authority, now: now) else { return false }
        let issued = try authority.issue(for: names, kind: kind, now: now)
        // The key first: a crash between the two leaves a pair that doesn't match, which renewalReason sees.
        try SecretFile.write(Array(issued.privateKeyPEM.utf8), to: serverFiles.privateKey)
        try SecretFile.write(Array(issued.certificatePEM.utf8), to: serverFiles.chain, mode: 0o644)
        logger.info("server certificate made", metadata: ["reason": "\(reason)", "file": "\(serverFiles.chain)"])
        return true
    }

    private func ensureAuthority(now: Date, logger: Logger) throws -> LocalAuthority {
        if SecretFile.exists(authorityFile) && SecretFile.exists(authorityKeyFile) {
            try SecretFile.checkPrivate(authorityKeyFile)
            let authority = try LocalAuthority(
                certificatePEM: String(decoding: SecretFile.read(authorityFile), as: UTF8.self),
                privateKeyPEM: String(decoding: SecretFile.read(authorityKeyFile), as: UTF8.self)
            )
            if authority.certificate.notValidAfter > now { return authority }
            logger.warning("the local CA has ended: a new one is made, clients must trust its file anew")
        }
        let root = try LocalAuthority.makeRoot(kind: kind, now: now)
        try SecretFile.write(Array(root.privateKeyPEM.utf8), to: authorityKeyFile)
        try SecretFile.write(Array(root.certificatePEM.utf8), to: authorityFile, mode: 0o644)
        logger.info("local CA made", metadata: ["file": "\(authorityFile)"])
        return try LocalAuthority(certificatePEM: root.certificatePEM, privateKeyPEM: root.privateKeyPEM)
    }

    /// Why the server certificate must be made anew, or nil when it is good.
    private func renewalReason(authority: LocalAuthority, now: Date) throws -> String? {
        let files = serverFiles
        guard SecretFile.exists(files.chain) && SecretFile.exists(files.privateKey) else { return "there is none" }
        try SecretFile.checkPrivate(files.privateKey)
        let leaf = try Certificate(pemEncoded: String(decoding: SecretFile.read(files.chain), as: UTF8.self))
        let key = try Certificate.PrivateKey(
            pemEncoded: String(decoding: SecretFile.read(files.privateKey), as: UTF8.self)
        )
        guard leaf.publicKey == key.publicKey else { return "key and certificate don't belong together" }
        guard authority.certificate.publicKey.isValidSignature(leaf.signature, for: leaf) else {
            return "the CA is a new one"
        }
        guard leaf.notValidAfter.timeIntervalSince(now) > Self.renewalDays * 86_400 else {
            return "the old one ends soon"
        }
        guard try SubjectNames(of: leaf).covers(names) else { return "a host name is missing in the old one" }
        return nil
    }

    /// A leaf with fewer days left than this is replaced.
    static let renewalDays: Double = 30
}

/// Where a certificate chain and its private key are.
public struct CertificateFiles: Hashable, Sendable {
    /// PEM file: the server's certificate first, then intermediate ones, without the root.
    public let chain: String
    /// PEM file: the private key, readable by its owner only.
    public let privateKey: String

    /// Names the two files.
    public init(chain: String, privateKey: String) {
        self.chain = chain
        self.privateKey = privateKey
    }
}
