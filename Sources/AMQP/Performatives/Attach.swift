// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

public import NIOCore

/// Which end of a link a peer is.
public enum LinkRole: Equatable, Sendable {
    /// The end that sends messages.
    case sender
    /// The end that receives messages.
    case receiver

    init(isReceiver: Bool) { self = isReceiver ? .receiver : .sender }

    /// The other end.
    public var opposite: LinkRole { self == .sender ? .receiver : .sender }
}

/// Who settles the deliveries of a link first (AMQP 2.8.2).
public enum SenderSettleMode: UInt8, Sendable {
    /// The sender sends all deliveries unsettled.
    case unsettled = 0
    /// The sender sends all deliveries settled.
    case settled = 1
    /// The sender decides for each delivery.
    case mixed = 2
}

/// When the receiver of a link settles (AMQP 2.8.3).
public enum ReceiverSettleMode: UInt8, Sendable {
    /// On its own, at once.
    case first = 0
    /// After the sender has settled.
    case second = 1
}

/// Attaches a link to a session (AMQP 2.7.3).
public struct Attach: Equatable, Sendable {
    /// The name of the link, unique between the two containers.
    public var name: String
    /// The number by which the sender of this performative names the link.
    public var handle: UInt32
    /// Which end the sender of this performative is.
    public var role: LinkRole
    /// Who settles first.
    public var senderSettleMode: SenderSettleMode?
    /// When the receiver settles.
    public var receiverSettleMode: ReceiverSettleMode?
    /// Where messages come from; nil refuses the link.
    public var source: Source?
    /// Where messages go to; nil refuses the link.
    public var target: Target?
    /// Deliveries of an earlier attach that are unsettled.
    public var unsettled: AMQPMap?
    /// Whether ``unsettled`` is not complete.
    public var incompleteUnsettled: Bool?
    /// The first value of delivery-count; mandatory from a sender.
    public var initialDeliveryCount: UInt32?
    /// The largest message in bytes; absent or 0 means no bound.
    public var maxMessageSize: UInt64?
    /// What the sender can do beyond the standard.
    public var offeredCapabilities: [String]?
    /// What the sender wishes the receiver to do beyond the standard.
    public var desiredCapabilities: [String]?
    /// More about the link.
    public var properties: AMQPMap?

    /// The attach with what is asked for as long as the link lives: addresses, settle modes and sizes.
    public var essence: Attach {
        var essence = Attach(name: name, handle: handle, role: role)
        essence.senderSettleMode = senderSettleMode
        essence.receiverSettleMode = receiverSettleMode
        essence.source = source.map { Source(address: $0.address) }
        essence.target = target.map { Target(address: $0.address) }
        essence.initialDeliveryCount = initialDeliveryCount
        essence.maxMessageSize = maxMessageSize
        return essence
    }

    /// An attach with its mandatory fields.
    public init(name: String, handle: UInt32, role: LinkRole) {
        self.name = name
        self.handle = handle
        self.role = role
    }

    init(fields: inout CompositeReader) throws(AMQPDecodeError) {
        guard let name = try fields.string() else { throw .missingField("name") }
        guard let handle = try fields.uint() else { throw .missingField("handle") }
        guard let isReceiver = try fields.bool() else { throw .missingField("role") }
        self.name = name
        self.handle = handle
        role = LinkRole(isReceiver: isReceiver)
        if let mode = try fields.ubyte() {
            guard let mode = SenderSettleMode(rawValue: mode) else { throw .invalidField("snd-settle-mode") }
            senderSettleMode = mode
        }
        if let mode = try fields.ubyte() {
            guard let mode = ReceiverSettleMode(rawValue: mode) else { throw .invalidField("rcv-settle-mode") }
            receiverSettleMode = mode
        }
        source = try fields.composite(Source.init(fields:))
        target = try fields.composite(Target.init(fields:))
        unsettled = try fields.map()
        incompleteUnsettled = try fields.bool()
        initialDeliveryCount = try fields.uint()
        if role == .sender, initialDeliveryCount == nil { throw .missingField("initial-delivery-count") }
        maxMessageSize = try fields.ulong()
        offeredCapabilities = try fields.symbols()
        desiredCapabilities = try fields.symbols()
        properties = try fields.map()
    }

    /// Appends the performative to `buffer`.
    public func encode(into buffer: inout ByteBuffer) {
        buffer.writeAMQPComposite(Descriptor.attach, count: 14) { buffer in
            buffer.writeAMQPString(name)
            buffer.writeAMQPUInt(handle)
            buffer.writeAMQPBool(role == .receiver)
            buffer.writeAMQPUByte(senderSettleMode?.rawValue)
            buffer.writeAMQPUByte(receiverSettleMode?.rawValue)
            if let source { source.encode(into: &buffer) } else { buffer.writeAMQPNull() }
            if let target { target.encode(into: &buffer) } else { buffer.writeAMQPNull() }
            buffer.writeAMQPMap(unsettled)
            buffer.writeAMQPBool(incompleteUnsettled)
            buffer.writeAMQPUInt(initialDeliveryCount)
            // In its wide form, as services of this kind send it, unless it is 0.
            buffer.writeAMQPULong(maxMessageSize, (maxMessageSize ?? 0) == 0 ? .compact : .wide)
            buffer.writeAMQPSymbols(offeredCapabilities)
            buffer.writeAMQPSymbols(desiredCapabilities)
            buffer.writeAMQPMap(properties)
        }
    }
}
