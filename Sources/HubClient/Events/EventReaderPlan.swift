// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import AMQP

/// What a reader of the built-in endpoint reads.
public struct EventReaderPlan: Sendable {
    /// Where the hub is.
    public var address: HubAddress
    /// The name of the event hub.
    public var eventHubName: String
    /// The name of a shared access policy with the right to read.
    public var policy: String
    /// The policy's key as base64 text.
    public var key: String
    /// The consumer group.
    public var consumerGroup = "$Default"
    /// The partitions, or nil for all that there are.
    public var partitions: [String]?
    /// Where in each partition to start.
    public var start = EventPosition.latest
    /// How many events of a partition may come at once; granted again after half of them came.
    public var credit: UInt32 = 1000
    /// For how long a token is valid; the reader sends a new one in time.
    public var tokenSeconds: Int64 = 3600
    /// How long attaching to all partitions may take after TCP is connected.
    public var attach: Duration = .seconds(30)
    /// How long the making of a connection may take.
    public var connect: Duration = .seconds(10)

    /// Makes a plan with the usual figures.
    ///
    /// - Parameters:
    ///   - address: where the hub is.
    ///   - eventHubName: the name of the event hub.
    ///   - policy: the name of a shared access policy with the right to read.
    ///   - key: the policy's key as base64 text.
    public init(address: HubAddress, eventHubName: String, policy: String, key: String) {
        self.address = address
        self.eventHubName = eventHubName
        self.policy = policy
        self.key = key
    }

    /// What tokens are for: every link of the event hub.
    private var audience: String {
        "sb://\(self.address.bareHostName)/\(self.eventHubName)"
    }

    /// The receiver of a partition.
    func receiver(partition: String) -> LinkPlan.Request {
        let group = "\(self.eventHubName)/ConsumerGroups/\(self.consumerGroup)"
        return LinkPlan.Request(
            node: "amqps://\(self.address.bareHostName)/\(group)/Partitions/\(partition)",
            role: .receiver,
            credit: self.credit,
            isSettled: true,
            filter: self.start.filter
        )
    }

    /// The connection of the reader; its links follow when the partitions are known.
    ///
    /// - Throws: ``HubClientError/badKey``.
    func linkPlan() throws(HubClientError) -> LinkPlan {
        let claim = LinkPlan.Claim(
            audience: self.audience,
            key: self.key,
            policy: self.policy,
            dialect: .eventHubs
        )
        var plan = try LinkPlan(address: self.address, purpose: "the reading of events", claims: [claim], links: [])
        plan.tokenSeconds = self.tokenSeconds
        plan.connect = self.connect
        plan.attach = self.attach
        return plan
    }
}
