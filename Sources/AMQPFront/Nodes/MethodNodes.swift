// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import AMQP
import Hub
import HubModel
import NIOCore

/// Where a device or module takes calls of its methods (docs/wire/amqp.md#methods).
final class MethodCallNode: IdentityNode {
    /// Calls that wait for credit; the hub bounds how many may be open.
    private var waiting: [MethodCall] = []
    /// Whether the peer ever was ready for a call: its credit runs out now and then without its meaning to stop.
    private(set) var hasHadCredit = false

    init(link: Link, connection: AMQPConnection, address: IdentityAddress) {
        super.init(link: link, connection: connection, address: address, kind: .methodCalls)
    }

    override func began() { notice() }

    override func pump() {
        guard part != nil else { return }
        send()
        super.pump()
        notice()
    }

    override func deliver(_ delivery: Delivery) {
        guard case .methodCall(let call) = delivery else { return }
        waiting.append(call)
        send()
        // What nobody waits for any more is not kept for a device that gives no credit.
        waiting.removeAll { session?.isOpen($0) != true }
        connection.handler.flushUnlessReading()
    }

    override func ended() { part?.methodsChanged(without: self) }

    private func notice() {
        guard !hasHadCredit, link.credit > 0 else { return }
        hasHadCredit = true
        part?.methodsChanged()
    }

    private func send() {
        var sent = 0
        while sent < waiting.count, engine.canSend(on: link) {
            let call = waiting[sent]
            sent += 1
            // Its caller was told of a time-out, and may have called again.
            guard session?.isOpen(call) == true else { continue }
            let message = Self.message(call)
            engine.send(on: link, settled: true) { message.encode(into: &$0) }
        }
        waiting.removeFirst(sent)
    }

    static func message(_ call: MethodCall) -> Message {
        var message = Message()
        message.properties = MessageProperties()
        // The C SDK takes nothing but a uuid, and Node none but one of RFC 4122.
        message.properties?.correlationID = .uuid(AMQPUUID(bytes: call.id.uuid))
        message.applicationProperties = [.string("IoThub-methodname"): .string(call.name)]
        message.body = .data(call.payload)
        return message
    }
}

/// Where a device or module answers calls of its methods.
final class MethodAnswerNode: IdentityNode {
    init(link: Link, connection: AMQPConnection, address: IdentityAddress) {
        super.init(link: link, connection: connection, address: address, kind: .methodAnswers)
    }

    override func began() { part?.methodsChanged() }
    override func ended() { part?.methodsChanged(without: self) }

    override func received(_ delivery: IncomingDelivery) {
        guard let session else { return reject(delivery, .accessEnded) }
        let message: Message
        do throws(AMQPDecodeError) {
            message = try Message(payload: delivery.payload, limits: connection.limits.engine)
        } catch {
            return reject(delivery, error.asError)
        }
        guard let status = message.applicationProperties?["IoThub-status"]?.integer.flatMap({ Int32(exactly: $0) }),
            let uuid = message.properties?.correlationID?.uuidBytes
        else {
            let text = "The answer of a method needs a correlation-id that is a uuid, and an IoThub-status."
            return reject(delivery, AMQPError(.invalidField, text))
        }
        settle(delivery, .accepted)
        engine.done(on: link)
        // Nobody may wait for it any more; then it is dropped.
        session.respond(toUUID: uuid, MethodResult(status: status, payload: message.dataBody))
    }
}

extension Message {
    /// The bytes of the body, copied so that they do not keep the read buffer alive; empty where there are none.
    var dataBody: ByteBuffer {
        switch body {
        case .data(let bytes), .value(.binary(let bytes)): ByteBuffer(bytes: bytes.readableBytesView)
        case .value(.string(let text)): ByteBuffer(string: text)
        default: ByteBuffer()
        }
    }
}

extension AMQPValue {
    /// The bytes of a uuid, or of the text of one: Node sends back as text what does not look like one to it.
    var uuidBytes: [UInt8]? {
        switch self {
        case .uuid(let uuid):
            return uuid.bytes
        case .string(let text):
            let digits = text.utf8.filter { $0 != UInt8(ascii: "-") }
            guard digits.count == 32 else { return nil }
            var bytes: [UInt8] = []
            for index in stride(from: 0, to: 32, by: 2) {
                let pair = String(decoding: digits[index..<index + 2], as: UTF8.self)
                guard let byte = UInt8(pair, radix: 16) else { return nil }
                bytes.append(byte)
            }
            return bytes
        default: return nil
        }
    }
}
