// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

public import NIOCore

/// Tells the state of a range of deliveries of a session (AMQP 2.7.6).
public struct Disposition: Equatable, Sendable {
    /// Which end of the links the sender of this performative is.
    public var role: LinkRole
    /// The first delivery.
    public var first: UInt32
    /// The last delivery; nil when there is only one.
    public var last: UInt32?
    /// Whether the sender of this performative has settled them.
    public var settled: Bool?
    /// Their state.
    public var state: DeliveryState?
    /// Whether the answer may wait for others.
    public var batchable: Bool?

    /// A disposition of the deliveries from `first` to `last`.
    public init(role: LinkRole, first: UInt32, last: UInt32? = nil, settled: Bool? = nil, state: DeliveryState? = nil) {
        self.role = role
        self.first = first
        self.last = last
        self.settled = settled
        self.state = state
    }

    init(fields: inout CompositeReader) throws(AMQPDecodeError) {
        guard let isReceiver = try fields.bool() else { throw .missingField("role") }
        guard let first = try fields.uint() else { throw .missingField("first") }
        role = LinkRole(isReceiver: isReceiver)
        self.first = first
        last = try fields.uint()
        settled = try fields.bool()
        state = try fields.composite(DeliveryState.init(fields:))
        batchable = try fields.bool()
    }

    /// Appends the performative to `buffer`.
    public func encode(into buffer: inout ByteBuffer) {
        buffer.writeAMQPComposite(Descriptor.disposition, count: 6) { buffer in
            buffer.writeAMQPBool(role == .receiver)
            buffer.writeAMQPUInt(first)
            buffer.writeAMQPUInt(last)
            buffer.writeAMQPBool(settled)
            if let state { state.encode(into: &buffer) } else { buffer.writeAMQPNull() }
            buffer.writeAMQPBool(batchable)
        }
    }
}
