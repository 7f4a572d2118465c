// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import AMQP
import Hub
import HubModel

/// `$cbs`: tokens put into the connection (docs/wire/amqp.md#cbs).
final class ClaimsNode: RequestNode {
    let link: Link
    unowned let connection: AMQPConnection

    init(link: Link, connection: AMQPConnection) {
        self.link = link
        self.connection = connection
    }

    var isAllowed: Bool { true }

    func requested(_ request: Message, _ delivery: IncomingDelivery) {
        // The disposition goes first: uamqp takes an answer that overtakes it for a failure.
        settle(delivery, .accepted)
        let status = putToken(request)
        if status.code != 200 {
            hub.metrics.refused("amqp token")
            connection.handler.log("amqp token refused: \(status.description)")
        }
        respond(to: request, status)
    }

    private func putToken(_ message: Message) -> RequestStatus {
        let properties = message.applicationProperties
        guard properties?["operation"]?.text == "put-token" else {
            return RequestStatus(code: 400, description: "The operation must be put-token.")
        }
        guard properties?["name"]?.text != nil, let type = properties?["type"]?.text?.lowercased(),
            case .value(let body) = message.body, let token = body.text
        else {
            return RequestStatus(code: 400, description: "A put-token needs a name, a type and a token.")
        }
        let isKnown = ["servicebus.windows.net:sastoken", "azure-devices.net:sastoken", "jwt", "bearer"].contains(type)
        guard isKnown else { return RequestStatus(code: 400, description: "The type of the token is not known.") }
        // The body decides, not the type: some clients send one kind under the name of the other.
        guard token.hasPrefix("SharedAccessSignature ") else {
            return RequestStatus(code: 401, description: "Only shared access signatures are accepted.")
        }
        do {
            _ = try SharedAccessSignature(parsing: token)
        } catch {
            return RequestStatus(code: 400, description: "The shared access signature cannot be read.")
        }
        do throws(HubError) {
            let principal = try connection.authenticate(token: token)
            guard principal.rights.contains(.serviceConnect) else {
                return RequestStatus(code: 401, description: "The policy does not allow to read events.")
            }
            guard connection.access.has(principal) || connection.access.count < connection.limits.tokensMax else {
                return RequestStatus(code: 403, description: "There are too many tokens on this connection.")
            }
            connection.access.add(principal)
            connection.handler.announceSignIn()
            return .ok
        } catch {
            return RequestStatus(code: 401, description: "The token is not valid here.")
        }
    }
}

@available(*, unavailable)
extension ClaimsNode: Sendable {}
