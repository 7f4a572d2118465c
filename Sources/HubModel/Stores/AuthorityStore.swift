// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

/// Keeps the certificate authorities that are registered.
///
/// Guarantees: a call that returned is durable; each call is one atomic step; reads see every write that returned
/// before they began.
public protocol AuthorityStore: Sendable {
    /// Returns an authority by its name, nil where there is none.
    func authority(_ name: String) async throws -> CertificateAuthority?

    /// Lists all authorities, ordered by name.
    func authorities() async throws -> [CertificateAuthority]

    /// Stores an authority.
    ///
    /// - Throws: ``HubError`` `.certificateNotFound`, `.preconditionFailed` where the condition does not hold (also
    ///   where there is one and should be none), `.quotaExceeded` where a new one is one too many
    func put(_ authority: CertificateAuthority, _ condition: WriteCondition) async throws

    /// Removes an authority.
    ///
    /// - Throws: ``HubError`` `.certificateNotFound`, `.preconditionFailed`
    func remove(_ name: String, _ condition: WriteCondition) async throws
}

/// The store of a hub that registers no authorities.
public struct NoAuthorities: AuthorityStore {
    /// Makes it.
    public init() {}

    /// There is none.
    public func authority(_ name: String) async throws -> CertificateAuthority? { nil }

    /// There are none.
    public func authorities() async throws -> [CertificateAuthority] { [] }

    /// There shall be none.
    public func put(_ authority: CertificateAuthority, _ condition: WriteCondition) async throws {
        throw HubError(.notSupported, "This hub registers no certificate authorities.")
    }

    /// There is none.
    public func remove(_ name: String, _ condition: WriteCondition) async throws {
        throw HubError(.certificateNotFound, "There is no certificate authority of that name.")
    }
}
