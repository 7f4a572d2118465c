// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import AMQP
import NIOCore

/// The pair of links to a node that answers requests, `$cbs` or `$management`; one request is under way at a time.
final class RequestLinks {
    /// What is done with an answer whose status is good.
    typealias Answered = (Message) throws(HubClientError) -> Void

    private struct Waiting {
        let request: ServiceRequest
        let answered: Answered
    }

    /// The node that answers.
    let node: String
    /// The link on which answers come.
    let receiver: Link?
    private let sender: Link?
    private let engine: ConnectionEngine
    private let replyTo: String
    private var lastID: UInt64 = 0
    private var waiting = CircularBuffer<Waiting>()
    private var underWay: Answered?

    /// Attaches both links.
    init(node: String, engine: ConnectionEngine, session: Session) {
        self.node = node
        self.engine = engine
        self.replyTo = "roost-\(node)"
        var outward = Attach(name: "roost-\(node)-sender", handle: 0, role: .sender)
        outward.source = Source(address: self.replyTo)
        outward.target = Target(address: node)
        outward.senderSettleMode = .settled
        outward.initialDeliveryCount = 0
        self.sender = engine.attach(outward, on: session)
        var inward = Attach(name: "roost-\(node)-receiver", handle: 0, role: .receiver)
        inward.source = Source(address: node)
        inward.target = Target(address: self.replyTo)
        inward.receiverSettleMode = .first
        self.receiver = engine.attach(inward, on: session, credit: 10)
    }

    /// Sends a request when those before it are answered.
    func ask(_ request: ServiceRequest, answered: @escaping Answered) {
        self.waiting.append(Waiting(request: request, answered: answered))
        self.sendNext()
    }

    /// Sends the next request unless one is under way, or the links are not ready.
    func sendNext() {
        guard self.underWay == nil, !self.waiting.isEmpty, let sender, self.engine.canSend(on: sender),
            self.receiver?.state == .attached
        else { return }
        let next = self.waiting.removeFirst()
        self.underWay = next.answered
        self.lastID += 1
        let message = next.request.message(id: self.lastID, replyTo: self.replyTo)
        // Settled at once, for the answer says what became of it.
        self.engine.send(on: sender, settled: true) { message.encode(into: &$0) }
    }

    /// Takes the payload of an answer.
    ///
    /// - Throws: ``HubClientError`` with what the hub said when it refused, and what the asker throws.
    func answerReceived(_ payload: ByteBuffer) throws(HubClientError) {
        let message: Message
        do {
            message = try Message(payload: payload, limits: self.engine.limits)
        } catch {
            throw .protocolViolation("an answer cannot be decoded: \(error)")
        }
        try message.checkStatus()
        guard let answered = self.underWay else { return }
        self.underWay = nil
        try answered(message)
        self.sendNext()
    }
}

@available(*, unavailable)
extension RequestLinks: Sendable {}

/// A request to a node that answers.
enum ServiceRequest {
    /// Sign in for everything of an audience.
    case putToken(String, audience: String)
    /// Ask for the partitions of an event hub.
    case readEventHub(String)

    /// The message of the request.
    func message(id: UInt64, replyTo: String) -> Message {
        var message = Message()
        var properties = MessageProperties()
        properties.messageID = .ulong(id)
        properties.replyTo = replyTo
        message.properties = properties
        switch self {
        case .putToken(let token, let audience):
            message.applicationProperties = [
                .string("operation"): .string("put-token"),
                .string("type"): .string("servicebus.windows.net:sastoken"),
                .string("name"): .string(audience),
            ]
            message.body = .value(.string(token))
        case .readEventHub(let name):
            message.applicationProperties = [
                .string("operation"): .string("READ"),
                .string("type"): .string("com.microsoft:eventhub"),
                .string("name"): .string(name),
            ]
            message.body = .value(.null)
        }
        return message
    }
}

extension Message {
    /// Checks the status of an answer.
    ///
    /// - Throws: ``HubClientError/amqpRefused(condition:description:)`` with what the hub said.
    func checkStatus() throws(HubClientError) {
        let properties = self.applicationProperties ?? [:]
        guard let status = properties["status-code"]?.integer else {
            throw .protocolViolation("an answer without status")
        }
        guard (200..<300).contains(status) else {
            let condition = properties["error-condition"]?.text
            throw .amqpRefused(
                condition: condition ?? "status \(status)",
                description: properties["status-description"]?.text ?? ""
            )
        }
    }

    /// The partitions in an answer about an event hub.
    ///
    /// - Throws: ``HubClientError/protocolViolation(_:)`` when it has none.
    func partitionIDs() throws(HubClientError) -> [String] {
        guard case .value(.map(let map)) = self.body, let ids = map["partition_ids"]?.multiple.compactMap(\.text),
            !ids.isEmpty
        else {
            throw .protocolViolation("an answer without partitions")
        }
        return ids
    }
}
