// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import Crypto
import FoundationEssentials
import Glibc
import HubTransport
import SwiftASN1
import X509

/// The directory of an authority that `roost ca create` made.
struct AuthorityFiles {
    let directory: String

    /// Names a directory; its key must not be readable by others.
    init(_ directory: String) throws {
        self.directory = directory
        try SecretFile.checkPrivate(directory + "/ca.key")
    }

    /// What issues certificates in the authority's name.
    func issuer() throws -> CertificateIssuer {
        try CertificateIssuer(
            certificatePEM: Self.text(directory + "/ca.pem"),
            privateKeyPEM: Self.text(directory + "/ca.key")
        )
    }

    /// What stands behind the certificates that it issues: itself and those above, without the root.
    func chain() throws -> String {
        let file = directory + "/chain.pem"
        return SecretFile.exists(file) ? try Self.text(file) : ""
    }

    /// Makes the directory of a new authority.
    static func make(_ directory: String, _ issued: IssuedCertificate, chain: String) throws {
        guard mkdir(directory, 0o700) == 0 || errno == EEXIST else {
            throw FileError(path: directory, action: "create", errno: errno)
        }
        guard !SecretFile.exists(directory + "/ca.key") else { throw AuthorityProblem.exists(directory) }
        try SecretFile.write(Array(issued.privateKeyPEM.utf8), to: directory + "/ca.key")
        try SecretFile.write(Array(issued.certificatePEM.utf8), to: directory + "/ca.pem", mode: 0o644)
        if !chain.isEmpty { try SecretFile.write(Array(chain.utf8), to: directory + "/chain.pem", mode: 0o644) }
    }

    /// The text of a file.
    static func text(_ path: String) throws -> String {
        String(decoding: try SecretFile.read(path), as: UTF8.self)
    }
}

/// Where a device's certificate and key go.
enum DeviceFiles {
    /// The path of both files without what tells them apart; a module's id has a dot where its slash was.
    static func base(_ id: String, in directory: String) throws -> String {
        guard mkdir(directory, 0o700) == 0 || errno == EEXIST else {
            throw FileError(path: directory, action: "create", errno: errno)
        }
        let name = String(id.map { $0 == "/" ? "." : $0 })
        guard !name.isEmpty, name.utf8.first != UInt8(ascii: ".") else { throw AuthorityProblem.badID }
        let base = directory + "/" + name
        guard !SecretFile.exists(base + ".key") else { throw AuthorityProblem.exists(base + ".key") }
        return base
    }
}

/// Why certificates can't be made or judged, and what to do.
enum AuthorityProblem: Error, CustomStringConvertible {
    case exists(String)
    case badID
    case noCertificate(String)
    case refused(String)

    var description: String {
        switch self {
        case .exists(let path): "\(path) is there already, and holds a key. Give another place with --out."
        case .badID: "give the id of a device, or DEVICE/MODULE."
        case .noCertificate(let file): "\(file) holds no certificate in PEM form."
        case .refused(let reason): "the hub would refuse it: \(reason)."
        }
    }
}

extension IssuedCertificate {
    /// The thumbprints by which a device of type selfSigned is registered.
    func thumbprints() throws -> (sha1: String, sha256: String) {
        var serializer = DER.Serializer()
        try serializer.serialize(certificate)
        func hex(_ bytes: some Sequence<UInt8>) -> String {
            bytes.map { byte in (byte < 16 ? "0" : "") + String(byte, radix: 16, uppercase: true) }.joined()
        }
        let der = serializer.serializedBytes
        return (hex(Insecure.SHA1.hash(data: der)), hex(SHA256.hash(data: der)))
    }
}
