// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import AMQP

/// The receivers of an event reader, one for each partition; on the connection's loop.
final class EventReceivers: LinkUser {
    /// The partitions in the order of the links; empty until they are known.
    private(set) var partitions: [String] = []
    private let plan: EventReaderPlan
    private let handOver: @Sendable (ArrivedEvent) -> Void

    init(plan: EventReaderPlan, received: @escaping @Sendable (ArrivedEvent) -> Void) {
        self.plan = plan
        self.handOver = received
    }

    func signedIn(_ connection: LinkConnection) throws(HubClientError) {
        if let partitions = self.plan.partitions {
            try self.attach(partitions, connection)
            return
        }
        let name = self.plan.eventHubName
        connection.ask("\(name)/$management", .readEventHub(name)) { answer throws(HubClientError) in
            try self.attach(try answer.partitionIDs(), connection)
        }
    }

    private func attach(_ partitions: [String], _ connection: LinkConnection) throws(HubClientError) {
        guard !partitions.isEmpty else { throw .protocolViolation("there are no partitions") }
        self.partitions = partitions
        try connection.attach(partitions.map { self.plan.receiver(partition: $0) })
    }

    func received(
        _ delivery: IncomingDelivery,
        on link: Link,
        _ connection: LinkConnection
    ) throws(HubClientError) {
        connection.settle(delivery, .accepted)
        let sections: MessageSections
        do {
            sections = try MessageSections(payload: delivery.payload, limits: connection.engine.limits)
        } catch {
            throw .protocolViolation("an event cannot be decoded: \(error)")
        }
        self.handOver(ArrivedEvent(partition: self.partitions[link.tag], sections: sections))
    }
}

@available(*, unavailable)
extension EventReceivers: Sendable {}
