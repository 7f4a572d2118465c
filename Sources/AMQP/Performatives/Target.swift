// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

public import NIOCore

/// Where the messages of a link go to (AMQP 3.5.4).
public struct Target: Terminus, Equatable, Sendable {
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
    /// What the node can do beyond the standard.
    public var capabilities: [String]?

    /// A target with an address and nothing else.
    public init(address: String?) { self.address = address }

    init(fields: inout CompositeReader) throws(AMQPDecodeError) {
        guard fields.code == UInt64(Descriptor.target) else { throw .unknownDescriptor }
        try readFirstFields(&fields)
        capabilities = try fields.symbols()
    }

    /// Appends the terminus to `buffer`.
    public func encode(into buffer: inout ByteBuffer) {
        buffer.writeAMQPComposite(Descriptor.target, count: 7) { buffer in
            writeFirstFields(to: &buffer)
            buffer.writeAMQPSymbols(capabilities)
        }
    }
}
