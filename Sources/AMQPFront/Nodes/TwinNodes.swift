// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import AMQP
import Hub
import HubModel
import NIOCore

/// Where a device or module asks about its twin; answers leave by its ``TwinAnswerNode`` (docs/wire/amqp.md#twins).
final class TwinRequestNode: IdentityNode {
    private static let desiredResource = "/notifications/twin/properties/desired"

    init(link: Link, connection: AMQPConnection, address: IdentityAddress) {
        super.init(link: link, connection: connection, address: address, kind: .twinRequests)
    }

    override func received(_ delivery: IncomingDelivery) {
        guard let session else { return reject(delivery, .accessEnded) }
        if let receiver = part?.node(.twinAnswers)?.link, !connection.responses.hasRoom(for: receiver) {
            return reject(delivery, .tooManyAnswersWait)
        }
        let message: Message
        do throws(AMQPDecodeError) {
            message = try Message(payload: delivery.payload, limits: connection.limits.engine)
        } catch {
            return reject(delivery, error.asError)
        }
        // An answer without it would look like a change of the desired properties.
        guard let correlationID = message.properties?.correlationID ?? message.properties?.messageID else {
            return reject(delivery, AMQPError(.invalidField, "A request about a twin needs a correlation-id."))
        }
        settle(delivery, .accepted)
        let annotations = message.messageAnnotations
        let resource = annotations?["resource"]?.text?.lowercased() ?? ""
        switch (annotations?["operation"]?.text?.uppercased(), resource) {
        case ("GET", ""): read(session, correlationID)
        case ("PATCH", "/properties/reported"):
            report(message.dataBody, ifVersion: annotations?["version"]?.integer, session, correlationID)
        case ("PUT", Self.desiredResource):
            session.wants(.desired, true)
            answer(correlationID, status: 204)
        case ("DELETE", Self.desiredResource):
            session.wants(.desired, false)
            answer(correlationID, status: 204)
        default:
            answer(correlationID, HubError(.argumentInvalid, "The operation or its resource is not known."))
        }
    }

    private func read(_ session: DeviceSession, _ correlationID: AMQPValue) {
        session.twin().assumeIsolated().whenComplete { result in
            guard !self.isClosed else { return }
            switch result {
            case .success(let document): self.answer(correlationID, status: 200, body: document)
            case .failure(let error): self.answer(correlationID, error)
            }
        }
    }

    private func report(
        _ patch: ByteBuffer,
        ifVersion: Int64?,
        _ session: DeviceSession,
        _ correlationID: AMQPValue
    ) {
        let (budget, size) = (connection.budget, patch.readableBytes)
        budget.take(size)
        session.report(patch, ifVersion: ifVersion).assumeIsolated().whenComplete { result in
            budget.giveBack(size)
            guard !self.isClosed else { return }
            switch result {
            case .success(let version): self.answer(correlationID, status: 204, version: version)
            case .failure(let error): self.answer(correlationID, error)
            }
        }
    }

    private func answer(_ correlationID: AMQPValue, _ error: any Error) {
        let refusal = TwinRefusal(error)
        answer(correlationID, status: Int32(refusal.status), body: ByteBuffer(string: refusal.message))
    }

    private func answer(
        _ correlationID: AMQPValue,
        status: Int32,
        version: Int64? = nil,
        body: ByteBuffer = ByteBuffer()
    ) {
        guard let node = part?.node(.twinAnswers) else { return engine.done(on: link) }
        connection.responses.add(
            Self.answer(correlationID, status: status, version: version, body: body),
            to: node.link,
            settled: true,
            answering: link
        )
        connection.handler.flushSoon()
    }

    static func answer(_ correlationID: AMQPValue, status: Int32, version: Int64?, body: ByteBuffer) -> Message {
        var message = Message()
        // The types are those that the C SDK insists on: int, and long.
        var annotations: AMQPMap = [.symbol("status"): .int(status)]
        if let version { annotations.append(.symbol("version"), .long(version)) }
        message.messageAnnotations = annotations
        message.properties = MessageProperties()
        message.properties?.correlationID = correlationID
        message.body = .data(body)
        return message
    }
}

/// Where a device or module takes answers about its twin, and notices of changes of its desired properties.
final class TwinAnswerNode: IdentityNode {
    init(link: Link, connection: AMQPConnection, address: IdentityAddress) {
        super.init(link: link, connection: connection, address: address, kind: .twinAnswers)
    }

    override func pump() {
        connection.responses.send(on: link)
        super.pump()
    }

    override func ended() {
        connection.responses.remove(link)
        session?.wants(.desired, false)
    }

    override func deliver(_ delivery: Delivery) {
        // Nothing more is kept for a client that gives no credit; the gap in the versions tells it to ask.
        guard case .desiredPatch(let notice) = delivery, connection.responses.hasRoom(for: link) else { return }
        connection.responses.add(
            Self.message(version: notice.version, payload: notice.payload),
            to: link,
            settled: true
        )
        connection.handler.flushUnlessReading()
    }

    static func message(version: Int64, payload: ByteBuffer) -> Message {
        var message = Message()
        // SDKs tell a notice from an answer by the absence of a correlation-id.
        message.messageAnnotations = [
            .symbol("resource"): .string("/notifications/twin/properties/desired"),
            .symbol("version"): .long(version),
        ]
        message.body = .data(payload)
        return message
    }
}
