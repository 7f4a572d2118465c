// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

public import HubModel

/// Decides about services by the shared access policies.
public struct PolicyAuthenticator: ServiceAuthenticating {
    private let names: HubNames
    private let policies: PolicyTable
    private let settings: AuthenticationSettings
    private let clockSkewSeconds: Int64

    /// Makes an authenticator for the policies of a table, which may change at any time.
    public init(names: HubNames, policies: PolicyTable, settings: AuthenticationSettings, limits: Limits) {
        self.names = names
        self.policies = policies
        self.settings = settings
        self.clockSkewSeconds = limits.clockSkewSeconds
    }

    /// Authenticates a token by the rule of a dialect.
    ///
    /// - Throws: `.unauthorized`, with one text whatever is wrong.
    public func authenticate(
        token text: String,
        dialect: TokenDialect,
        nowSeconds: Int64
    ) throws(HubError) -> ServicePrincipal {
        let token: SharedAccessSignature
        do { token = try SharedAccessSignature(parsing: text) } catch { throw SignInRefusal.malformedToken.error }
        switch self.decide(token, dialect: dialect, nowSeconds: nowSeconds) {
        case .success(let principal): return principal
        case .failure(let refusal): throw refusal.error
        }
    }

    /// Authenticates the name of a policy and the text of one of its keys.
    ///
    /// - Throws: `.unauthorized`, with one text whatever is wrong.
    public func authenticate(policy name: String, key: String) throws(HubError) -> ServicePrincipal {
        let entry = self.policies.entry(name)
        let policy = entry?.policy
        let isPrimary = ConstantTime.equal(policy?.primaryKey ?? "", key)
        let isSecondary = ConstantTime.equal(policy?.secondaryKey ?? "", key)
        let isUsable = (self.settings.allowsSampleKeys || !SampleKeys.contains(key)) && !self.settings.disableLocalAuth
        guard let entry, let policy, isPrimary || isSecondary, isUsable, !key.isEmpty else {
            throw SignInRefusal.wrongSignature.error
        }
        return ServicePrincipal(
            policy: name,
            keySlot: isPrimary ? .primary : .secondary,
            rights: policy.rights,
            audiencePath: "",
            expiresAtSeconds: nil,
            policyChange: entry.change
        )
    }

    /// Whether no change of the policies since a principal signed in touched its key or took rights away.
    public func isStillGood(_ principal: ServicePrincipal) -> Bool {
        self.isStillGood(policy: principal.policy, principal.keySlot, since: principal.policyChange)
    }

    /// Whether no change of the policies since the one named touched a key or took rights away.
    public func isStillGood(policy: String, _ slot: KeySlot, since change: UInt64) -> Bool {
        guard let entry = self.policies.entry(policy), !self.settings.disableLocalAuth else { return false }
        return entry.isUnchanged(slot, since: change)
    }

    private func decide(
        _ token: SharedAccessSignature,
        dialect: TokenDialect,
        nowSeconds: Int64
    ) -> Result<ServicePrincipal, SignInRefusal> {
        let entry = self.entry(for: token, dialect: dialect)
        let slot: KeySlot?
        switch dialect {
        case .hub: slot = (entry?.hubKeys ?? .unknown).slot(of: token)
        case .eventHubs:
            let own = (entry?.eventHubsKeys ?? .unknown).slot(of: token)
            let hub = (entry?.hubKeys ?? .unknown).slot(of: token)
            slot = own ?? (self.settings.acceptsHubDialectOnEventHubs ? hub : nil)
        }
        let audience = TokenAudience.ofPolicyToken(token, names: self.names)
        guard let entry, let slot else { return .failure(.wrongSignature) }
        guard !self.settings.disableLocalAuth else { return .failure(.kindDisabled) }
        if let refusal = token.refusal(atSeconds: nowSeconds, self.settings, clockSkewSeconds: self.clockSkewSeconds) {
            return .failure(refusal)
        }
        guard let audience else { return .failure(.wrongAudience) }
        return .success(
            ServicePrincipal(
                policy: entry.policy.name,
                keySlot: slot,
                rights: entry.policy.rights,
                audiencePath: audience.path.joined(separator: "/"),
                expiresAtSeconds: token.expiresAtSeconds,
                policyChange: entry.change
            )
        )
    }

    private func entry(for token: SharedAccessSignature, dialect: TokenDialect) -> PolicyTable.Entry? {
        guard let name = token.keyName else { return nil }
        if let entry = self.policies.entry(name) { return entry }
        guard dialect == .eventHubs, let decoded = token.keyNameDecodedTwice else { return nil }
        return self.policies.entry(decoded)
    }
}

extension ServicePrincipal {
    /// Whether the policy allows all of some rights; being allowed to write the registry includes reading it.
    public func has(_ wanted: AccessRights) -> Bool {
        let implied: AccessRights = self.rights.contains(.registryWrite) ? [.registryRead] : []
        return wanted.isSubset(of: self.rights.union(implied))
    }

    /// Whether the token is good for an endpoint, given as a path below the host such as `devices/dev1`.
    ///
    /// A token for a path is good for all that lies below it, segment by segment; fixed words compare in any letter case.
    public func covers(path: String) -> Bool {
        let own = self.audiencePath.split(separator: "/")
        let endpoint = path.split(separator: "/")
        guard own.count <= endpoint.count else { return false }
        return own.indices.allSatisfy { index in
            let isKeyword = index % 2 == 0
            return isKeyword ? own[index].lowercased() == endpoint[index].lowercased() : own[index] == endpoint[index]
        }
    }
}
