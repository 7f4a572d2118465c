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
    private var isClosed = false

    init(link: Link, connection: AMQPConnection) {
        self.link = link
        self.connection = connection
    }

    var isAllowed: Bool { true }

    func requested(_ request: Message, _ delivery: IncomingDelivery) {
        guard connection.identities.waitingCount < connection.limits.waitingResponsesMax else {
            return reject(delivery, AMQPError(.resourceLimitExceeded, "Too many tokens wait."))
        }
        // The disposition goes first: uamqp takes an answer that overtakes it for a failure.
        settle(delivery, .accepted)
        putToken(request) { status in
            guard !self.isClosed else { return }
            if status.code != 200 {
                self.hub.metrics.refused("amqp token")
                if !status.isLogged { self.connection.handler.log("amqp token refused: \(status.description)") }
            }
            self.respond(to: request, status)
        }
    }

    func close() {
        isClosed = true
        connection.responses.remove(link)
    }

    private func putToken(_ message: Message, answer: @escaping (RequestStatus) -> Void) {
        let properties = message.applicationProperties
        guard properties?["operation"]?.text == "put-token" else {
            return answer(RequestStatus(code: 400, description: "The operation must be put-token."))
        }
        guard let name = properties?["name"]?.text, let type = properties?["type"]?.text?.lowercased(),
            case .value(let body) = message.body, let text = body.text
        else {
            return answer(RequestStatus(code: 400, description: "A put-token needs a name, a type and a token."))
        }
        let isKnown = ["servicebus.windows.net:sastoken", "azure-devices.net:sastoken", "jwt", "bearer"].contains(type)
        guard isKnown else {
            return answer(RequestStatus(code: 400, description: "The type of the token is not known."))
        }
        // The body decides, not the type: some clients send one kind under the name of the other.
        guard text.hasPrefix("SharedAccessSignature ") else {
            return answer(RequestStatus(code: 401, description: "Only shared access signatures are accepted."))
        }
        do throws(SharedAccessSignature.ParseError) {
            put(try SharedAccessSignature(parsing: text), text, name: name, answer: answer)
        } catch {
            answer(RequestStatus(code: 400, description: "The shared access signature cannot be read."))
        }
    }

    /// Takes a token of a policy at once, and one of an identity when the registry has told its keys.
    private func put(
        _ token: SharedAccessSignature,
        _ text: String,
        name: String,
        answer: @escaping (RequestStatus) -> Void
    ) {
        // What the token is for decides, not the name; only its letters may be truer, for some sign in lower case.
        var candidates = hub.names.identities(inAudience: token.resourceText)
        let spelled = Set(candidates.map { $0.description.lowercased() })
        candidates += hub.names.identities(inAudience: name).filter { id in
            spelled.contains(id.description.lowercased()) && !candidates.contains(id)
        }
        if let policy = token.keyName, !candidates.contains(where: { $0.device == policy }) {
            return answer(put(policyToken: text))
        }
        guard !candidates.isEmpty else { return answer(.invalidToken) }
        connection.identities.put(text, for: candidates, answer: answer)
    }

    private func put(policyToken text: String) -> RequestStatus {
        do throws(HubError) {
            let principal = try connection.authenticate(token: text)
            guard !principal.rights.isDisjoint(with: [.serviceConnect, .deviceConnect]) else {
                return RequestStatus(
                    code: 401,
                    description: "The policy allows neither to read events nor to act as devices."
                )
            }
            let count = connection.access.count + connection.identities.parts.count
            guard connection.access.has(principal) || count < connection.limits.tokensMax else { return .tooManyTokens }
            connection.access.add(principal, token: text)
            connection.handler.announceSignIn()
            connection.identities.renew(text, of: principal)
            return .ok
        } catch {
            return .invalidToken
        }
    }
}

extension RequestStatus {
    static let invalidToken = RequestStatus(code: 401, description: "The token is not valid here.")
    /// A token that the sign-in of devices and modules has refused, and told why.
    static let refusedSignIn = RequestStatus(code: 401, description: invalidToken.description, isLogged: true)
    static let tooManyTokens = RequestStatus(code: 403, description: "There are too many tokens on this connection.")
}

@available(*, unavailable)
extension ClaimsNode: Sendable {}
