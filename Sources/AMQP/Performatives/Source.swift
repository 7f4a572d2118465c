// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

public import NIOCore

/// Where the messages of a link come from (AMQP 3.5.3).
public struct Source: Terminus, Equatable, Sendable {
    /// The address of the node.
    public var address: String?
    /// What is kept when the link is gone: 0 nothing, 1 configuration, 2 unsettled state.
    public var durable: UInt32?
    /// When the time-out begins to run.
    public var expiryPolicy: String?
    /// How many seconds the terminus lives after that.
    public var timeout: UInt32?
    /// Whether the node is made for this link.
    public var dynamic: Bool?
    /// What such a node should be like.
    public var dynamicNodeProperties: AMQPMap?
    /// Whether messages are moved or copied.
    public var distributionMode: String?
    /// Which messages are wanted.
    public var filter: AMQPMap?
    /// The outcome of deliveries that were not settled by the receiver.
    public var defaultOutcome: AMQPValue?
    /// The outcomes that the receiver may choose.
    public var outcomes: [String]?
    /// What the node can do beyond the standard.
    public var capabilities: [String]?

    /// A source with an address and nothing else.
    public init(address: String?) { self.address = address }

    init(fields: inout CompositeReader) throws(AMQPDecodeError) {
        guard fields.code == UInt64(Descriptor.source) else { throw .unknownDescriptor }
        try readFirstFields(&fields)
        distributionMode = try fields.symbol()
        filter = try fields.map()
        defaultOutcome = try fields.value()
        outcomes = try fields.symbols()
        capabilities = try fields.symbols()
    }

    /// Appends the terminus to `buffer`.
    public func encode(into buffer: inout ByteBuffer) {
        buffer.writeAMQPComposite(Descriptor.source, count: 11) { buffer in
            writeFirstFields(to: &buffer)
            buffer.writeAMQPSymbol(distributionMode)
            buffer.writeAMQPMap(filter)
            buffer.writeAMQPValue(defaultOutcome ?? .null)
            buffer.writeAMQPSymbols(outcomes)
            buffer.writeAMQPSymbols(capabilities)
        }
    }
}
