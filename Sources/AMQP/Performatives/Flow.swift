// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

public import NIOCore

/// The flow state of a session, and of one of its links when it names one (AMQP 2.7.4).
public struct Flow: Equatable, Sendable {
    /// The transfer id that the sender expects next; nil before it has seen the peer's begin.
    public var nextIncomingID: UInt32?
    /// How many transfer frames the sender accepts.
    public var incomingWindow: UInt32
    /// The transfer id of the next transfer frame that the sender will send.
    public var nextOutgoingID: UInt32
    /// How many transfer frames the sender may have in flight.
    public var outgoingWindow: UInt32
    /// The link; nil when only the session is meant.
    public var handle: UInt32?
    /// How many deliveries the link has seen.
    public var deliveryCount: UInt32?
    /// How many more deliveries the receiver accepts.
    public var linkCredit: UInt32?
    /// How many messages wait at the sender.
    public var available: UInt32?
    /// Whether the sender should use up the credit even when it has no messages.
    public var drain: Bool?
    /// Whether the receiver of this performative should answer with its own state.
    public var echo: Bool?
    /// More about the state.
    public var properties: AMQPMap?

    /// A flow with its mandatory fields.
    public init(nextIncomingID: UInt32?, incomingWindow: UInt32, nextOutgoingID: UInt32, outgoingWindow: UInt32) {
        self.nextIncomingID = nextIncomingID
        self.incomingWindow = incomingWindow
        self.nextOutgoingID = nextOutgoingID
        self.outgoingWindow = outgoingWindow
    }

    init(fields: inout CompositeReader) throws(AMQPDecodeError) {
        nextIncomingID = try fields.uint()
        guard let incomingWindow = try fields.uint() else { throw .missingField("incoming-window") }
        guard let nextOutgoingID = try fields.uint() else { throw .missingField("next-outgoing-id") }
        guard let outgoingWindow = try fields.uint() else { throw .missingField("outgoing-window") }
        self.incomingWindow = incomingWindow
        self.nextOutgoingID = nextOutgoingID
        self.outgoingWindow = outgoingWindow
        handle = try fields.uint()
        deliveryCount = try fields.uint()
        linkCredit = try fields.uint()
        available = try fields.uint()
        drain = try fields.bool()
        echo = try fields.bool()
        properties = try fields.map()
    }

    /// Appends the performative to `buffer`.
    public func encode(into buffer: inout ByteBuffer) {
        buffer.writeAMQPComposite(Descriptor.flow, count: 11) { buffer in
            buffer.writeAMQPUInt(nextIncomingID)
            buffer.writeAMQPUInt(incomingWindow)
            buffer.writeAMQPUInt(nextOutgoingID)
            buffer.writeAMQPUInt(outgoingWindow)
            buffer.writeAMQPUInt(handle)
            buffer.writeAMQPUInt(deliveryCount)
            buffer.writeAMQPUInt(linkCredit)
            buffer.writeAMQPUInt(available)
            buffer.writeAMQPBool(drain)
            buffer.writeAMQPBool(echo)
            buffer.writeAMQPMap(properties)
        }
    }
}
