// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

public import HubModel

/// Decides about one sign-in of a device or a module from what is known; no store, no clock, no waiting.
///
/// Whatever is unknown, disabled or wrong, the same two signatures are computed for the identity and the same two for
/// the policy, so that neither text nor time tells which it was.
public struct DeviceTokenDecision: Sendable {
    /// Who wants to sign in.
    public var id: IdentityID
    /// The identity as it is registered, nil if it is not.
    public var identity: RegisteredIdentity?
    /// The device of a module as it is registered; for a device the same as `identity`.
    public var device: RegisteredIdentity?

    /// Gathers what is known of an identity.
    public init(id: IdentityID, identity: RegisteredIdentity?, device: RegisteredIdentity?) {
        self.id = id
        self.identity = identity
        self.device = device
    }

    /// Accepts or refuses a token.
    public func decide(
        _ text: String,
        names: HubNames,
        policies: PolicyTable,
        settings: AuthenticationSettings,
        clockSkewSeconds: Int64,
        nowSeconds: Int64
    ) -> Result<AuthenticatedIdentity, SignInRefusal> {
        let token: SharedAccessSignature
        do { token = try SharedAccessSignature(parsing: text) } catch { return .failure(.malformedToken) }
        let own = self.ownKey(token, names: names, settings: settings)
        let entry = policies.entry(token.keyName ?? "")
        let policyChange = entry?.change ?? 0
        let policy = self.policyKey(token, names: names, entry: entry, settings: settings)
        // The C client's HTTPS transport puts the device's id where the policy's name belongs.
        let isOwn = token.keyName == nil || token.keyName == self.id.device
        let outcome: Result<DeviceProof, SignInRefusal>
        switch (isOwn, own, policy) {
        case (true, .success, _): outcome = own
        case (true, .failure, .success): outcome = token.keyName == nil ? own : policy
        case (true, .failure, .failure): outcome = own
        case (false, _, _): outcome = policy
        }
        if case .failure(let refusal) = outcome { return .failure(refusal) }
        if let refusal = token.refusal(atSeconds: nowSeconds, settings, clockSkewSeconds: clockSkewSeconds) {
            return .failure(refusal)
        }
        guard let identity = self.identity, let device = self.device else { return .failure(.unknownIdentity) }
        guard identity.status == .enabled, device.status == .enabled else { return .failure(.disabledIdentity) }
        return outcome.map { proof in
            AuthenticatedIdentity(
                id: self.id,
                generationID: identity.generationID,
                proof: proof,
                expiresAtSeconds: token.expiresAtSeconds,
                policyChange: policyChange
            )
        }
    }

    private func ownKey(
        _ token: SharedAccessSignature,
        names: HubNames,
        settings: AuthenticationSettings
    ) -> Result<DeviceProof, SignInRefusal> {
        let keys = self.identity?.symmetricKeys ?? CredentialPair()
        let slot = SigningKeys(keys, dialect: .hub, allowsSampleKeys: settings.allowsSampleKeys).slot(of: token)
        let isForIdentity = TokenAudience.isForIdentity(self.id, token, names: names)
        guard let identity, let slot else { return .failure(.wrongSignature) }
        guard identity.authentication == .sas else { return .failure(.wrongKind) }
        guard !(self.id.module == nil ? settings.disableDeviceSAS : settings.disableModuleSAS) else {
            return .failure(.kindDisabled)
        }
        return isForIdentity ? .success(.identityKey(slot)) : .failure(.wrongAudience)
    }

    private func policyKey(
        _ token: SharedAccessSignature,
        names: HubNames,
        entry: PolicyTable.Entry?,
        settings: AuthenticationSettings
    ) -> Result<DeviceProof, SignInRefusal> {
        let slot = (entry?.hubKeys ?? .unknown).slot(of: token)
        let audience = TokenAudience.ofPolicyToken(token, names: names)
        guard let entry, let slot else { return .failure(.wrongSignature) }
        guard !settings.disableLocalAuth else { return .failure(.kindDisabled) }
        guard entry.policy.rights.contains(.deviceConnect) else { return .failure(.missingRight) }
        guard audience?.covers(TokenAudience.path(of: self.id)) == true else { return .failure(.wrongAudience) }
        guard self.identity?.authentication != AuthenticationType.none else { return .failure(.wrongKind) }
        return .success(.policyKey(policy: entry.policy.name, slot))
    }
}
