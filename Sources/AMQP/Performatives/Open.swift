// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

public import NIOCore

/// The first performative of a connection, with what each side can do (AMQP 2.7.1).
public struct Open: Equatable, Sendable {
    /// The name of the sender's container.
    public var containerID: String
    /// The host that the sender wants to reach.
    public var hostname: String?
    /// The largest frame in bytes that the sender accepts; absent means no bound.
    public var maxFrameSize: UInt32?
    /// The highest channel that the sender accepts.
    public var channelMax: UInt16?
    /// After this many milliseconds of silence the sender gives the connection up; absent or 0 means never.
    public var idleTimeout: UInt32?
    /// Locales for text that the sender writes.
    public var outgoingLocales: [String]?
    /// Locales for text that the sender reads.
    public var incomingLocales: [String]?
    /// What the sender can do beyond the standard.
    public var offeredCapabilities: [String]?
    /// What the sender wishes the receiver to do beyond the standard.
    public var desiredCapabilities: [String]?
    /// What the sender is.
    public var properties: AMQPMap?

    /// An open with the container's name and nothing else.
    public init(containerID: String) { self.containerID = containerID }

    init(fields: inout CompositeReader) throws(AMQPDecodeError) {
        guard let containerID = try fields.string() else { throw .missingField("container-id") }
        self.containerID = containerID
        hostname = try fields.string()
        maxFrameSize = try fields.uint()
        channelMax = try fields.ushort()
        idleTimeout = try fields.uint()
        outgoingLocales = try fields.symbols()
        incomingLocales = try fields.symbols()
        offeredCapabilities = try fields.symbols()
        desiredCapabilities = try fields.symbols()
        properties = try fields.map()
    }

    /// Appends the performative to `buffer`.
    public func encode(into buffer: inout ByteBuffer) {
        buffer.writeAMQPComposite(Descriptor.open, count: 10) { buffer in
            buffer.writeAMQPString(containerID)
            buffer.writeAMQPString(hostname)
            buffer.writeAMQPUInt(maxFrameSize)
            buffer.writeAMQPUShort(channelMax)
            buffer.writeAMQPUInt(idleTimeout)
            buffer.writeAMQPSymbols(outgoingLocales)
            buffer.writeAMQPSymbols(incomingLocales)
            buffer.writeAMQPSymbols(offeredCapabilities)
            buffer.writeAMQPSymbols(desiredCapabilities)
            buffer.writeAMQPMap(properties)
        }
    }
}
