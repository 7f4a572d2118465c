// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

public import NIOCore

/// Begins a session on a channel (AMQP 2.7.2).
public struct Begin: Equatable, Sendable {
    /// The channel of the begin that this one answers; nil in the initiator's.
    public var remoteChannel: UInt16?
    /// The transfer id of the first transfer frame that the sender will send.
    public var nextOutgoingID: UInt32
    /// How many transfer frames the sender accepts.
    public var incomingWindow: UInt32
    /// How many transfer frames the sender may have in flight.
    public var outgoingWindow: UInt32
    /// The highest link handle that the sender accepts.
    public var handleMax: UInt32?
    /// What the sender can do beyond the standard.
    public var offeredCapabilities: [String]?
    /// What the sender wishes the receiver to do beyond the standard.
    public var desiredCapabilities: [String]?
    /// What the session is for.
    public var properties: AMQPMap?

    /// A begin with its mandatory fields.
    public init(
        remoteChannel: UInt16? = nil,
        nextOutgoingID: UInt32,
        incomingWindow: UInt32,
        outgoingWindow: UInt32,
        handleMax: UInt32? = nil
    ) {
        self.remoteChannel = remoteChannel
        self.nextOutgoingID = nextOutgoingID
        self.incomingWindow = incomingWindow
        self.outgoingWindow = outgoingWindow
        self.handleMax = handleMax
    }

    init(fields: inout CompositeReader) throws(AMQPDecodeError) {
        remoteChannel = try fields.ushort()
        guard let nextOutgoingID = try fields.uint() else { throw .missingField("next-outgoing-id") }
        guard let incomingWindow = try fields.uint() else { throw .missingField("incoming-window") }
        guard let outgoingWindow = try fields.uint() else { throw .missingField("outgoing-window") }
        self.nextOutgoingID = nextOutgoingID
        self.incomingWindow = incomingWindow
        self.outgoingWindow = outgoingWindow
        handleMax = try fields.uint()
        offeredCapabilities = try fields.symbols()
        desiredCapabilities = try fields.symbols()
        properties = try fields.map()
    }

    /// Appends the performative to `buffer`.
    public func encode(into buffer: inout ByteBuffer) {
        buffer.writeAMQPComposite(Descriptor.begin, count: 8) { buffer in
            buffer.writeAMQPUShort(remoteChannel)
            buffer.writeAMQPUInt(nextOutgoingID)
            buffer.writeAMQPUInt(incomingWindow)
            buffer.writeAMQPUInt(outgoingWindow)
            buffer.writeAMQPUInt(handleMax)
            buffer.writeAMQPSymbols(offeredCapabilities)
            buffer.writeAMQPSymbols(desiredCapabilities)
            buffer.writeAMQPMap(properties)
        }
    }
}
