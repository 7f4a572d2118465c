// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import AMQP

/// What happens on the links of a connection; all of it on the connection's loop.
protocol LinkUser: AnyObject {
    /// The hub took every token: the user attaches its links, by default those of the plan.
    func signedIn(_ connection: LinkConnection) throws(HubClientError)
    /// Every link is attached.
    func attached(_ connection: LinkConnection)
    /// A link got credit, or the session room, or bytes were read: there may be something to send.
    func maySend(_ connection: LinkConnection)
    /// The hub told what became of a message.
    func settled(_ id: UInt32, _ state: DeliveryState?, on link: Link)
    /// A message came; it must be settled, unless it is already.
    ///
    /// - Throws: HubClientError, which ends the connection.
    func received(
        _ delivery: IncomingDelivery,
        on link: Link,
        _ connection: LinkConnection
    ) throws(HubClientError)
    /// The connection is over; nothing else is called after that.
    func ended(_ error: HubClientError)
}

extension LinkUser {
    func signedIn(_ connection: LinkConnection) throws(HubClientError) {
        try connection.attach(connection.plan.links)
    }

    func attached(_ connection: LinkConnection) {}

    func maySend(_ connection: LinkConnection) {}

    func settled(_ id: UInt32, _ state: DeliveryState?, on link: Link) {}

    func received(
        _ delivery: IncomingDelivery,
        on link: Link,
        _ connection: LinkConnection
    ) throws(HubClientError) {
        connection.settle(delivery, .accepted)
    }

    func ended(_ error: HubClientError) {}
}
