// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import AMQP

/// What a client signs in for and attaches on one AMQP connection.
struct LinkPlan: Sendable {
    /// A token and what it is for.
    struct Claim: Sendable {
        var token: String
        var audience: String
    }

    /// One link of the client.
    struct Request: Sendable {
        /// The node: where messages go, or come from.
        var node: String
        /// Whether the client sends or receives.
        var role: LinkRole
        /// For a receiver, how many messages may come at once.
        var credit: UInt32 = 0
    }

    /// Where the hub is.
    var address: HubAddress
    /// What to sign in for, one after another.
    var claims: [Claim]
    /// The links; the index of each becomes its tag.
    var links: [Request]
    /// How long the making of the connection may take.
    var connect: Duration = .seconds(10)
    /// How long signing in and attaching may take after that.
    var attach: Duration = .seconds(60)

    /// A plan for a policy of the hub, which may do all that its rights allow.
    ///
    /// - Throws: ``HubClientError/badKey``.
    init(
        address: HubAddress,
        policy: String,
        key: String,
        links: [Request],
        tokenSeconds: Int64 = 86_400
    ) throws(HubClientError) {
        self.address = address
        self.links = links
        let token = try SASToken.make(
            resource: address.bareHostName,
            key: key,
            policy: policy,
            expiresAt: SASToken.expiry(inSeconds: tokenSeconds)
        )
        self.claims = [Claim(token: token, audience: address.bareHostName)]
    }

    /// A plan for devices that share one key.
    ///
    /// - Throws: ``HubClientError/badKey``.
    init(
        address: HubAddress,
        devices: [String],
        key: String,
        links: [Request],
        tokenSeconds: Int64 = 86_400
    ) throws(HubClientError) {
        self.address = address
        self.links = links
        self.claims = []
        for device in devices {
            let audience = "\(address.bareHostName)/devices/\(device)"
            let expiry = SASToken.expiry(inSeconds: tokenSeconds)
            let token = try SASToken.make(resource: audience, key: key, expiresAt: expiry)
            self.claims.append(Claim(token: token, audience: audience))
        }
    }
}
