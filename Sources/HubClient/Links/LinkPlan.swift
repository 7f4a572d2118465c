// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import AMQP

/// What a client signs in for and attaches on one AMQP connection.
struct LinkPlan: Sendable {
    /// What the client proves, again and again while the connection lasts.
    struct Claim: Sendable {
        /// What the tokens are for.
        var audience: String
        /// The key as base64 text.
        var key: String
        /// The name of the shared access policy, or nil for a device's own key.
        var policy: String?
        /// Which endpoint the tokens are for.
        var dialect = SASToken.Dialect.hub

        /// A token that is valid from now on.
        ///
        /// - Throws: ``HubClientError/badKey``.
        func token(validSeconds: Int64) throws(HubClientError) -> String {
            try SASToken.make(
                resource: self.audience,
                key: self.key,
                policy: self.policy,
                expiresAt: SASToken.expiry(inSeconds: validSeconds),
                dialect: self.dialect
            )
        }
    }

    /// One link of the client.
    struct Request: Sendable {
        /// The node: where messages go, or come from.
        var node: String
        /// Whether the client sends or receives.
        var role: LinkRole
        /// For a receiver, how many messages may come at once.
        var credit: UInt32 = 0
        /// For a receiver, whether messages come settled.
        var isSettled = false
        /// For a receiver, which messages it wants; nil for all.
        var filter: AMQPMap?
    }

    /// Where the hub is.
    let address: HubAddress
    /// What the connection is for, as errors tell it, such as "the sending of commands".
    let purpose: String
    /// What to sign in for, one after another.
    let claims: [Claim]
    /// The links; the index of each becomes its tag.
    let links: [Request]
    /// For how long a token is valid; the connection sends a new one in time.
    var tokenSeconds: Int64 = 3600
    /// How long the making of the connection may take.
    var connect: Duration = .seconds(10)
    /// How long signing in and attaching may take after that.
    var attach: Duration = .seconds(60)

    /// A plan for some claims.
    ///
    /// - Throws: ``HubClientError/badKey``, before anything is connected.
    init(address: HubAddress, purpose: String, claims: [Claim], links: [Request]) throws(HubClientError) {
        self.address = address
        self.purpose = purpose
        self.claims = claims
        self.links = links
        for claim in claims {
            _ = try claim.token(validSeconds: self.tokenSeconds)
        }
    }

    /// A plan for a policy of the hub, which may do all that its rights allow.
    ///
    /// - Throws: ``HubClientError/badKey``.
    init(
        address: HubAddress,
        purpose: String,
        policy: String,
        key: String,
        links: [Request]
    ) throws(HubClientError) {
        let claim = Claim(audience: address.bareHostName, key: key, policy: policy)
        try self.init(address: address, purpose: purpose, claims: [claim], links: links)
    }
}
