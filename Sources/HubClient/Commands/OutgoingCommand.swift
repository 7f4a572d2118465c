// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import AMQP
import FoundationEssentials
public import HubModel
public import NIOCore

/// A command that a service sends to a device.
public struct OutgoingCommand: Hashable, Sendable {
    /// The device.
    public var device: String
    /// The content, of any kind.
    public var body: ByteBuffer
    /// The id by which feedback names it.
    public var messageID: String?
    /// The id of what it belongs to.
    public var correlationID: String?
    /// The media type of the content.
    public var contentType: String?
    /// The encoding of the content.
    public var contentEncoding: String?
    /// When it expires, in milliseconds since 1970; nil is the hub's own time to live.
    public var expiresMilliseconds: Int64?
    /// What of its fate the service wants to be told.
    public var acknowledgement: FeedbackMode?
    /// The application's properties, in order.
    public var properties: [DeviceMessage.Property] = []

    /// Makes a command.
    public init(device: String, body: ByteBuffer) {
        self.device = device
        self.body = body
    }

    /// The message as services send it (docs/wire/amqp.md).
    var message: Message {
        var message = Message()
        var properties = MessageProperties()
        properties.messageID = self.messageID.map { .string($0) }
        properties.to = "/devices/\(self.device)/messages/devicebound"
        properties.correlationID = self.correlationID.map { .string($0) }
        properties.contentType = self.contentType
        properties.contentEncoding = self.contentEncoding
        properties.absoluteExpiryTime = self.expiresMilliseconds
        message.properties = properties
        var map = AMQPMap()
        if let acknowledgement {
            map.append(.string("iothub-ack"), .string(acknowledgement.rawValue))
        }
        for property in self.properties {
            map.append(.string(property.name), property.value.map { .string($0) } ?? .null)
        }
        if !map.entries.isEmpty {
            message.applicationProperties = map
        }
        message.body = .data(self.body)
        return message
    }
}
