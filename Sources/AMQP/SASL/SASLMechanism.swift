// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

public import NIOCore

/// The mechanisms of authentication that exist here.
public enum SASLMechanism: String, Sendable, CaseIterable {
    /// The identity of the TLS client certificate.
    case external = "EXTERNAL"
    /// None yet: tokens follow on `$cbs`.
    case mssbcbs = "MSSBCBS"
    /// None yet.
    case anonymous = "ANONYMOUS"
    /// A name and a password.
    case plain = "PLAIN"
}

/// The name and password of PLAIN (RFC 4616).
public struct PlainCredentials: Equatable, Sendable {
    /// The identity to act as; empty for one's own.
    public var authorizationID: String
    /// The name.
    public var name: String
    /// The password; a secret.
    public var password: String

    /// Credentials to act as oneself.
    public init(name: String, password: String) {
        authorizationID = ""
        self.name = name
        self.password = password
    }

    /// Decodes `authzid NUL authcid NUL passwd`; nil when it is none of that.
    public init?(initialResponse: ByteBuffer) {
        let parts = initialResponse.readableBytesView.split(separator: 0, omittingEmptySubsequences: false)
        guard parts.count == 3,
            let authorizationID = String(validating: parts[0], as: UTF8.self),
            let name = String(validating: parts[1], as: UTF8.self), !name.isEmpty,
            let password = String(validating: parts[2], as: UTF8.self), !password.isEmpty
        else { return nil }
        self.authorizationID = authorizationID
        self.name = name
        self.password = password
    }

    /// The bytes that PLAIN sends.
    public var initialResponse: ByteBuffer {
        ByteBuffer(string: "\(authorizationID)\0\(name)\0\(password)")
    }
}
