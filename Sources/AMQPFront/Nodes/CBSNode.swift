// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import AMQP
import Hub
import HubModel

// `$cbs`: tokens put into the connection (docs/wire/amqp.md#cbs).
extension AMQPConnection {
    /// The status of an answer, as HTTP would have it.
    struct Status {
        var code: Int32
        var description: String

        static let ok = Status(code: 200, description: "OK")
    }

    func putToken(_ delivery: IncomingDelivery, on link: Link) {
        guard responses.hasRoom else {
            settle(
                delivery,
                on: link,
                .rejected(AMQPError(.resourceLimitExceeded, "Too many answers wait for credit."))
            )
            return
        }
        let message: Message
        do throws(AMQPDecodeError) {
            message = try Message(payload: delivery.payload, limits: limits.engine)
        } catch {
            settle(delivery, on: link, .rejected(error.asError))
            return
        }
        // The disposition goes first: uamqp takes an answer that overtakes it for a failure.
        settle(delivery, on: link, .accepted)
        let status = putToken(message)
        if status.code != 200 {
            hub.metrics.refused("amqp token")
            handler.log("amqp token refused: \(status.description)")
        }
        respond(to: message, on: link, status)
    }

    func settle(_ delivery: IncomingDelivery, on link: Link, _ state: DeliveryState) {
        guard !delivery.isSettled else { return }
        engine.settle(delivery.id, on: link.session, state)
    }

    private func putToken(_ message: Message) -> Status {
        let properties = message.applicationProperties
        guard properties?["operation"]?.text == "put-token" else {
            return Status(code: 400, description: "The operation must be put-token.")
        }
        guard properties?["name"]?.text != nil, let type = properties?["type"]?.text?.lowercased(),
            case .value(let body) = message.body, let token = body.text
        else {
            return Status(code: 400, description: "A put-token needs a name, a type and a token.")
        }
        let isKnown = ["servicebus.windows.net:sastoken", "azure-devices.net:sastoken", "jwt", "bearer"].contains(type)
        guard isKnown else { return Status(code: 400, description: "The type of the token is not known.") }
        // The body decides, not the type: some clients send one kind under the name of the other.
        guard token.hasPrefix("SharedAccessSignature ") else {
            return Status(code: 401, description: "Only shared access signatures are accepted.")
        }
        do {
            _ = try SharedAccessSignature(parsing: token)
        } catch {
            return Status(code: 400, description: "The shared access signature cannot be read.")
        }
        do throws(HubError) {
            let principal = try authenticate(token: token)
            guard principal.rights.contains(.serviceConnect) else {
                return Status(code: 401, description: "The policy does not allow to read events.")
            }
            guard access.has(principal) || access.count < limits.tokensMax else {
                return Status(code: 403, description: "There are too many tokens on this connection.")
            }
            access.add(principal)
            handler.announceSignIn()
            return .ok
        } catch {
            return Status(code: 401, description: "The token is not valid here.")
        }
    }

    /// Answers a request on the peer's receiver, with the id of the request in the very type it has.
    func respond(
        to request: Message,
        on link: Link,
        _ status: Status,
        condition: AMQPCondition? = nil,
        body: AMQPMap? = nil
    ) {
        guard let receiver = responseLink(for: link, replyTo: request.properties?.replyTo) else { return }
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
        responses.add(message, to: receiver)
    }
}
