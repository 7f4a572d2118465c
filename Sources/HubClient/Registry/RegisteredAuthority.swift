// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import FoundationEssentials
import NIOHTTP1

/// A certificate authority as a hub describes it (docs/wire/http.md#authorities).
public struct RegisteredAuthority: Codable, Sendable, Hashable {
    /// What the hub says of it.
    public struct Properties: Codable, Sendable, Hashable {
        /// The subject of its certificate.
        public var subject: String?
        /// When the certificate ends.
        public var expiry: String?
        /// SHA-1 of the certificate, in hexadecimal digits.
        public var thumbprint: String?
        /// Whether its devices may sign in.
        public var isVerified: Bool?
        /// The common name that the proof of its key must have.
        public var verificationCode: String?
        /// The certificate, as PEM text or base64 of its DER form.
        public var certificate: String?
    }

    /// What it is called.
    public var name: String?
    /// Its version.
    public var etag: String?
    /// What the hub says of it.
    public var properties: Properties
}

extension ServiceClient {
    /// Lists the certificate authorities of the hub.
    public func authorities() async throws -> Answer<[RegisteredAuthority]> {
        struct List: Decodable { let value: [RegisteredAuthority] }
        let answer: Answer<List> = try await self.send(.GET, path: "/certificates").decoded()
        return Answer(value: answer.value.value, document: answer.document)
    }

    /// Registers a certificate authority, or changes a registered one.
    ///
    /// - Parameters:
    ///   - name: what it is called.
    ///   - certificate: its certificate as PEM text.
    ///   - isVerified: true to do without the proof that its key is held.
    /// - Returns: the authority as it is now.
    /// - Throws: ``HubClientError``.
    public func register(
        _ name: String,
        certificate: String,
        isVerified: Bool?
    ) async throws -> Answer<RegisteredAuthority> {
        let wanted = RegisteredAuthority(properties: .init(isVerified: isVerified, certificate: certificate))
        let body = try JSONEncoder().encode(wanted)
        return try await self.send(.PUT, path: self.path(name), body: body).decoded()
    }

    /// Asks for a new code for the proof that an authority's key is held.
    public func makeVerificationCode(_ name: String) async throws -> Answer<RegisteredAuthority> {
        try await self.send(.POST, path: self.path(name) + "/generateVerificationCode").decoded()
    }

    /// Hands in the proof that an authority's key is held, a certificate as PEM text.
    public func verify(_ name: String, proof: String) async throws -> Answer<RegisteredAuthority> {
        let body = try JSONEncoder().encode(["certificate": proof])
        return try await self.send(.POST, path: self.path(name) + "/verify", body: body).decoded()
    }

    /// Takes a certificate authority away; its devices' connections end.
    public func removeAuthority(_ name: String) async throws {
        let answer = try await self.send(.DELETE, path: self.path(name))
        guard (200..<300).contains(answer.status) else { throw answer.refusal }
    }

    private func path(_ name: String) -> String { "/certificates/\(percentEncoded(name))" }
}
