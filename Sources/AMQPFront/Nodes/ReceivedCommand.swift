// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import AMQP
import HubModel
import NIOCore

/// A command as a service's message says it (docs/wire/amqp.md#commands).
struct ReceivedCommand {
    /// Whom `to` may name, the most literal reading first; not empty.
    var devices: [String]
    /// The command.
    var message: CommandMessage

    /// The property that says what the sender wants to be told.
    private static let acknowledgementName = "iothub-ack"

    /// Reads a message.
    ///
    /// - Throws: What to reject it with.
    init(_ delivery: IncomingDelivery, limits: AMQPLimits) throws(LinkRefusal) {
        guard delivery.messageFormat == 0 else {
            throw LinkRefusal(AMQPError(.notImplemented, "Commands are sent one by one, with message-format 0."))
        }
        let message: Message
        do throws(AMQPDecodeError) {
            message = try Message(payload: delivery.payload, limits: limits)
        } catch {
            throw LinkRefusal(error.asError)
        }
        let properties = message.properties ?? MessageProperties()
        devices = try Self.devices(properties.to)
        self.message = CommandMessage(
            messageID: try Self.id(properties.messageID, "message-id"),
            correlationID: try Self.id(properties.correlationID, "correlation-id"),
            userID: properties.userID.map { Array($0.readableBytesView) },
            to: properties.to ?? "",
            contentType: properties.contentType,
            contentEncoding: properties.contentEncoding,
            expiresMilliseconds: properties.absoluteExpiryTime,
            body: try Self.body(message.body)
        )
        for entry in message.applicationProperties?.entries ?? [] {
            guard let name = entry.key.text, let value = entry.value.scalarText else {
                throw LinkRefusal(AMQPError(.argumentError, "An application property is no name with a scalar value."))
            }
            guard name != Self.acknowledgementName else {
                guard let mode = FeedbackMode(text: value) else {
                    let text = "The property \(name) must be none, positive, negative or full."
                    throw LinkRefusal(AMQPError(.argumentError, text))
                }
                self.message.acknowledgement = mode
                continue
            }
            self.message.properties.append(MessageProperty(name: name, value: value))
        }
    }

    private static func devices(_ to: String?) throws(LinkRefusal) -> [String] {
        let path = NodeAddress.path(of: to ?? "")
        guard let address = IdentityAddress(path), address.purpose == .commands else {
            let text = "The property 'to' must be /devices/{device}/messages/devicebound."
            throw LinkRefusal(AMQPError(.argumentError, text))
        }
        guard address.candidates.allSatisfy({ $0.module == nil }) else {
            throw LinkRefusal(AMQPError(.notFound, "Commands go to devices; modules have no queue."))
        }
        return address.candidates.map(\.device)
    }

    /// An id as text, whatever of its four types it has (AMQP 3.2.4).
    private static func id(_ value: AMQPValue?, _ name: String) throws(LinkRefusal) -> String? {
        guard let value else { return nil }
        switch value {
        case .string, .symbol, .ulong, .uuid, .binary: return value.scalarText
        default: throw LinkRefusal(AMQPError(.argumentError, "The \(name) must be a string, ulong, uuid or binary."))
        }
    }

    private static func body(_ body: Message.Body) throws(LinkRefusal) -> ByteBuffer {
        switch body {
        case .none: return ByteBuffer()
        case .data(let bytes), .value(.binary(let bytes)): return bytes
        case .value(.string(let text)): return ByteBuffer(string: text)
        case .value, .sequence:
            throw LinkRefusal(AMQPError(.argumentError, "The body of a command must be a data section."))
        }
    }
}

extension AMQPValue {
    /// A value that is no compound as text, binary in base 64; nil for lists, maps and the like.
    var scalarText: String? {
        switch self {
        case .string(let text), .symbol(let text): text
        case .bool(let value): value ? "true" : "false"
        case .ubyte(let value): String(value)
        case .ushort(let value): String(value)
        case .uint(let value): String(value)
        case .ulong(let value): String(value)
        case .byte(let value): String(value)
        case .short(let value): String(value)
        case .int(let value): String(value)
        case .long(let value): String(value)
        case .float(let value): "\(value)"
        case .double(let value): "\(value)"
        case .char(let value): Unicode.Scalar(value).map { String(Character($0)) }
        case .timestamp(let milliseconds): UTCTime.text(milliseconds: milliseconds)
        case .uuid(let value): value.description
        case .binary(let bytes): Base64.encode(bytes.readableBytesView)
        case .null: ""
        case .decimal32, .decimal64, .decimal128, .list, .map, .array, .described: nil
        }
    }
}
