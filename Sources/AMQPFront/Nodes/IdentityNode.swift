// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import AMQP
import Hub
import HubModel
import NIOCore

/// What a link of an identity is for, where there is one of a kind only.
enum IdentityLinkKind {
    case telemetry, inputs, commands, methodCalls, methodAnswers, twinRequests, twinAnswers

    /// Whether a newer link of the kind takes the place of the older one.
    var isExclusive: Bool { self != .telemetry }
}

/// A node that serves one identity: waits until the connection is that identity's, then for its messages.
class IdentityNode: LinkNode {
    let link: Link
    unowned let connection: AMQPConnection
    /// The engine, which answers what came on the link even when the connection is gone.
    let engine: ConnectionEngine
    let address: IdentityAddress
    let kind: IdentityLinkKind
    /// The identity's part of the connection, from the time when the link is accepted.
    private(set) var part: IdentityPart?
    private(set) var isClosed = false

    init(link: Link, connection: AMQPConnection, address: IdentityAddress, kind: IdentityLinkKind) {
        self.link = link
        self.connection = connection
        engine = connection.engine
        self.address = address
        self.kind = kind
    }

    /// The session of the identity; nil before the link is accepted and after it is gone.
    var session: DeviceSession? { part?.session }

    /// Links end with their identity's part, not by what services are allowed.
    var isAllowed: Bool { true }

    /// How many messages may be under way to the hub.
    var credit: UInt32 { connection.limits.requestCredit }

    final func open() -> AMQPError? { connection.identities.enter(self) }

    /// Accepts the link; the part has a session.
    final func joined(_ part: IdentityPart) {
        self.part = part
        let credit = link.role == .receiver ? credit : 0
        engine.accept(link, with: engine.reply(to: link), credit: credit, untilDone: true)
        began()
    }

    /// The link was accepted.
    func began() {}

    func received(_ delivery: IncomingDelivery) {
        settle(delivery, .released)
        engine.done(on: link)
    }

    func disposition(of deliveryID: UInt32, _ state: DeliveryState?, isSettled: Bool) {}
    func pump() { engine.drained(link) }
    func readEnded() {}

    /// Takes what the hub has for the identity.
    func deliver(_ delivery: Delivery) {}

    /// The link is gone; the session is still there.
    func ended() {}

    final func close() {
        guard !isClosed else { return }
        if part != nil { ended() }
        isClosed = true
        let part = part
        self.part = nil
        part?.remove(self)
    }

    /// The value of a property of the attach.
    func attachProperty(_ name: String) -> String? { link.remoteAttach.properties?[name]?.text }
}

@available(*, unavailable)
extension IdentityNode: Sendable {}

/// Where modules wait for inputs: routing to them is the business of a gateway, so nothing ever comes, but SDKs open it.
final class InputNode: IdentityNode {
    init(link: Link, connection: AMQPConnection, address: IdentityAddress) {
        super.init(link: link, connection: connection, address: address, kind: .inputs)
    }
}
