// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

public import HubModel
public import Logging

/// Authenticates devices and modules against the registry and the shared access policies.
public struct RegistryDeviceAuthenticator: DeviceAuthenticating {
    private let names: HubNames
    private let identities: any IdentityStore
    private let policies: PolicyTable
    private let settings: AuthenticationSettings
    private let authorities: AuthorityTable
    private let certificates: CertificateLimits
    private let clockSkewSeconds: Int64
    private let logger: Logger

    /// Makes an authenticator over a registry, policies and certificate authorities, all of which may change at any time.
    public init(
        names: HubNames,
        identities: any IdentityStore,
        policies: PolicyTable,
        authorities: AuthorityTable = AuthorityTable(),
        settings: AuthenticationSettings,
        limits: Limits,
        logger: Logger
    ) {
        self.names = names
        self.identities = identities
        self.policies = policies
        self.settings = settings
        self.authorities = authorities
        self.certificates = limits.certificates
        self.clockSkewSeconds = limits.clockSkewSeconds
        self.logger = logger
    }

    /// Authenticates an identity by what it offers.
    public func authenticate(
        _ id: IdentityID,
        credential: DeviceCredential,
        nowSeconds: Int64
    ) async throws -> AuthenticatedIdentity {
        let (identity, device) = try await self.registered(id)
        let outcome: Result<AuthenticatedIdentity, SignInRefusal>
        switch credential {
        case .token(let text):
            outcome = DeviceTokenDecision(id: id, identity: identity, device: device).decide(
                text,
                names: self.names,
                policies: self.policies,
                settings: self.settings,
                clockSkewSeconds: self.clockSkewSeconds,
                nowSeconds: nowSeconds
            )
        case .certificateChain(let chain):
            outcome = DeviceCertificateDecision(id: id, identity: identity, device: device).decide(
                chain,
                authorities: self.authorities,
                limits: self.certificates,
                clockSkewSeconds: self.clockSkewSeconds,
                nowSeconds: nowSeconds
            )
        case .nothing:
            outcome = .failure(.nothingOffered)
        }
        switch outcome {
        case .success(let identity): return identity
        case .failure(let refusal):
            self.logger.info(
                "Refused a sign-in.",
                metadata: ["identity": "\(id)", "reason": "\(refusal.rawValue)"]
            )
            throw refusal.error
        }
    }

    /// Whether an authority is among those whose devices may sign in.
    public func isStillGood(authority thumbprint: String) -> Bool {
        self.authorities.contains(thumbprint: thumbprint)
    }

    /// Reads an identity, and the device of a module, whether or not there is one.
    private func registered(
        _ id: IdentityID
    ) async throws(HubError) -> (identity: RegisteredIdentity?, device: RegisteredIdentity?) {
        do {
            let identity = try await self.identities.identity(id)
            guard id.module != nil else { return (identity, identity) }
            return (identity, try await self.identities.identity(IdentityID(device: id.device)))
        } catch {
            self.logger.error("The registry can't be read.", metadata: ["error": "\(error)"])
            throw HubError(.serviceUnavailable, "The registry can't be read now.")
        }
    }
}
