// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

public import NIOCore

/// One frame of a delivery; the payload follows it in the frame (AMQP 2.7.5).
public struct Transfer: Equatable, Sendable {
    /// The link.
    public var handle: UInt32
    /// The number of the delivery in its session; mandatory in the first frame.
    public var deliveryID: UInt32?
    /// The name of the delivery on its link, at most 32 bytes; mandatory in the first frame.
    public var deliveryTag: ByteBuffer?
    /// How the payload is encoded: 0 for the sections of the standard.
    public var messageFormat: UInt32?
    /// Whether the sender has settled the delivery.
    public var settled: Bool?
    /// Whether more frames of this delivery follow.
    public var more: Bool?
    /// When the receiver settles this delivery.
    public var receiverSettleMode: ReceiverSettleMode?
    /// The state of the delivery at the sender.
    public var state: DeliveryState?
    /// Whether this resumes a delivery of an earlier attach.
    public var resume: Bool?
    /// Whether the delivery is given up; nothing of it counts.
    public var aborted: Bool?
    /// Whether a disposition may wait for others.
    public var batchable: Bool?

    /// A transfer with its mandatory field.
    public init(handle: UInt32) { self.handle = handle }

    init(fields: inout CompositeReader) throws(AMQPDecodeError) {
        guard let handle = try fields.uint() else { throw .missingField("handle") }
        self.handle = handle
        deliveryID = try fields.uint()
        deliveryTag = try fields.binary()
        messageFormat = try fields.uint()
        settled = try fields.bool()
        more = try fields.bool()
        if let mode = try fields.ubyte() {
            guard let mode = ReceiverSettleMode(rawValue: mode) else { throw .invalidField("rcv-settle-mode") }
            receiverSettleMode = mode
        }
        state = try fields.composite(DeliveryState.init(fields:))
        resume = try fields.bool()
        aborted = try fields.bool()
        batchable = try fields.bool()
    }

    /// Appends the performative to `buffer`.
    public func encode(into buffer: inout ByteBuffer) {
        buffer.writeAMQPComposite(Descriptor.transfer, count: 11) { buffer in
            buffer.writeAMQPUInt(handle)
            buffer.writeAMQPUInt(deliveryID)
            buffer.writeAMQPBinary(deliveryTag)
            buffer.writeAMQPUInt(messageFormat)
            buffer.writeAMQPBool(settled)
            buffer.writeAMQPBool(more)
            buffer.writeAMQPUByte(receiverSettleMode?.rawValue)
            if let state { state.encode(into: &buffer) } else { buffer.writeAMQPNull() }
            buffer.writeAMQPBool(resume)
            buffer.writeAMQPBool(aborted)
            buffer.writeAMQPBool(batchable)
        }
    }
}
