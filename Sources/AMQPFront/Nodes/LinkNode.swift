// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import AMQP
import Hub
import HubModel

/// What serves one link: one kind of node for each kind of address (``AMQPConnection/makeNode(for:)``).
///
/// A node lives on its connection's event loop, from the attach of its link until ``close()``.
protocol LinkNode: AnyObject {
    /// The link.
    var link: Link { get }
    /// The connection, which outlives the node.
    var connection: AMQPConnection { get }
    /// The engine; a node that answers after its connection is gone holds it.
    var engine: ConnectionEngine { get }
    /// Whether what the connection has proved still allows the link; asked again when something of it has ended.
    var isAllowed: Bool { get }

    /// Accepts the link, at once or later.
    ///
    /// - Returns: What to refuse the link with; nil when all is well so far.
    func open() -> AMQPError?

    /// Takes a message of the peer.
    func received(_ delivery: IncomingDelivery)

    /// Takes what the peer says of a message that was sent to it.
    func disposition(of deliveryID: UInt32, _ state: DeliveryState?, isSettled: Bool)

    /// Sends what waits, as credit, session window and socket allow; called for links on which the hub sends.
    func pump()

    /// Says that all messages of one read were handed over.
    func readEnded()

    /// Frees what the hub keeps for the link; may be called again.
    func close()
}

extension LinkNode {
    var engine: ConnectionEngine { connection.engine }
    var hub: Hub { connection.hub }

    func received(_ delivery: IncomingDelivery) {
        settle(delivery, .released)
        engine.done(on: link)
    }

    func disposition(of deliveryID: UInt32, _ state: DeliveryState?, isSettled: Bool) {}
    func pump() {}
    func readEnded() {}
    func close() {}

    /// Answers a message unless the peer has settled it.
    func settle(_ delivery: IncomingDelivery, _ state: DeliveryState) {
        guard !delivery.isSettled else { return }
        engine.settle(delivery.id, on: link.session, state)
    }

    /// Rejects a message, which is done then.
    func reject(_ delivery: IncomingDelivery, _ error: AMQPError) {
        settle(delivery, .rejected(error))
        engine.done(on: link)
    }
}

/// A node that takes requests, and answers them on another link of its kind.
protocol RequestNode: LinkNode {
    /// Takes a request that could be read; the node settles it before it answers, and rejects or answers each.
    func requested(_ request: Message, _ delivery: IncomingDelivery)
}

extension RequestNode {
    func open() -> AMQPError? {
        engine.accept(
            link,
            with: engine.reply(to: link),
            credit: connection.limits.requestCredit,
            untilDone: true
        )
        return nil
    }

    func pump() {
        connection.responses.send(on: link)
        engine.drained(link)
    }

    func close() { connection.responses.remove(link) }

    func received(_ delivery: IncomingDelivery) {
        let request: Message
        do throws(AMQPDecodeError) {
            request = try Message(payload: delivery.payload, limits: connection.limits.engine)
        } catch {
            return reject(delivery, error.asError)
        }
        if let receiver = responseLink(replyTo: request.properties?.replyTo),
            !connection.responses.hasRoom(for: receiver)
        {
            return reject(delivery, .tooManyAnswersWait)
        }
        requested(request, delivery)
    }

    /// Settles an answer of ours for a peer that waits for it, as receivers that settle second do.
    func disposition(of deliveryID: UInt32, _ state: DeliveryState?, isSettled: Bool) {
        guard !isSettled, state?.isOutcome == true else { return }
        engine.confirm(deliveryID, on: link.session, .accepted)
    }

    /// Answers a request on the peer's receiver, with the id of the request in the very type it has.
    func respond(
        to request: Message,
        _ status: RequestStatus,
        condition: AMQPCondition? = nil,
        body: AMQPMap? = nil
    ) {
        guard let receiver = responseLink(replyTo: request.properties?.replyTo) else { return engine.done(on: link) }
        var message = Message()
        message.properties = MessageProperties()
        message.properties?.correlationID = request.properties?.messageID ?? request.properties?.correlationID
        var properties: AMQPMap = [
            .string("status-code"): .int(status.code),
            .string("status-description"): .string(status.description),
        ]
        if let condition { properties.append(.string("error-condition"), .symbol(condition.rawValue)) }
        message.applicationProperties = properties
        if let body { message.body = .value(.map(body)) }
        connection.responses.add(message, to: receiver, answering: link)
    }

    /// The link on which the peer wants the answer to a request that came on this one.
    private func responseLink(replyTo: String?) -> Link? {
        let candidates = connection.nodes.values.filter { node in
            node is Self && node.link.role == .sender && node.link.state == .attached
        }.map(\.link).sorted { $0.tag > $1.tag }
        let sameSession = candidates.filter { $0.session === link.session }
        if let replyTo,
            let named = (sameSession + candidates).first(where: { $0.remoteAttach.target?.address == replyTo })
        {
            return named
        }
        return sameSession.first ?? candidates.first
    }
}

/// The status of an answer, as HTTP would have it.
struct RequestStatus: Sendable {
    var code: Int32
    var description: String
    /// Whether whoever refused has told so in the log.
    var isLogged = false

    static let ok = RequestStatus(code: 200, description: "OK")
}
