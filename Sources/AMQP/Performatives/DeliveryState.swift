// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

public import NIOCore

/// The state of a delivery at one of its ends (AMQP 3.4).
public enum DeliveryState: Equatable, Sendable {
    /// So much has arrived.
    case received(section: UInt32, offset: UInt64)
    /// The message was processed.
    case accepted
    /// The message is invalid and cannot be processed.
    indirect case rejected(AMQPError?)
    /// The message was not and will not be processed here.
    case released
    /// The message was not processed here, and is changed.
    indirect case modified(deliveryFailed: Bool?, undeliverableHere: Bool?, annotations: AMQPMap?)

    init(fields: inout CompositeReader) throws(AMQPDecodeError) {
        switch UInt8(exactly: fields.code) {
        case Descriptor.received:
            guard let section = try fields.uint() else { throw .missingField("section-number") }
            guard let offset = try fields.ulong() else { throw .missingField("section-offset") }
            self = .received(section: section, offset: offset)
        case Descriptor.accepted: self = .accepted
        case Descriptor.rejected: self = .rejected(try fields.composite(AMQPError.init(fields:)))
        case Descriptor.released: self = .released
        case Descriptor.modified:
            let failed = try fields.bool()
            let undeliverable = try fields.bool()
            self = .modified(deliveryFailed: failed, undeliverableHere: undeliverable, annotations: try fields.map())
        default: throw .unknownDescriptor
        }
    }

    /// Whether the state ends a delivery.
    public var isOutcome: Bool {
        if case .received = self { return false }
        return true
    }

    /// Appends the state to `buffer`.
    public func encode(into buffer: inout ByteBuffer) {
        switch self {
        case .received(let section, let offset):
            buffer.writeAMQPComposite(Descriptor.received, count: 2) { buffer in
                buffer.writeAMQPUInt(section)
                buffer.writeAMQPULong(offset)
            }
        case .accepted:
            buffer.writeAMQPDescriptor(Descriptor.accepted)
            buffer.writeAMQPList([])
        case .rejected(let error):
            buffer.writeAMQPComposite(Descriptor.rejected, count: 1) { buffer in
                if let error { error.encode(into: &buffer) } else { buffer.writeAMQPNull() }
            }
        case .released:
            buffer.writeAMQPDescriptor(Descriptor.released)
            buffer.writeAMQPList([])
        case .modified(let failed, let undeliverable, let annotations):
            buffer.writeAMQPComposite(Descriptor.modified, count: 3) { buffer in
                buffer.writeAMQPBool(failed)
                buffer.writeAMQPBool(undeliverable)
                buffer.writeAMQPMap(annotations)
            }
        }
    }
}

extension AMQPError {
    init(fields: inout CompositeReader) throws(AMQPDecodeError) {
        guard fields.code == UInt64(Descriptor.error) else { throw .unknownDescriptor }
        guard let condition = try fields.text() else { throw .missingField("condition") }
        self.init(AMQPCondition(rawValue: condition), try fields.string(), info: try fields.map())
    }

    /// Appends the error to `buffer`.
    public func encode(into buffer: inout ByteBuffer) {
        buffer.writeAMQPComposite(Descriptor.error, count: 3) { buffer in
            buffer.writeAMQPSymbol(condition.rawValue)
            buffer.writeAMQPString(description)
            buffer.writeAMQPMap(info)
        }
    }
}
