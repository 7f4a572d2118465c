// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

public import NIOCore

/// A message decoded as a whole, for the control plane and for clients.
public struct Message: Equatable, Sendable {
    /// What a message carries.
    public enum Body: Equatable, Sendable {
        /// No body section.
        case none
        /// The bytes of all data sections.
        case data(ByteBuffer)
        /// Any value.
        case value(AMQPValue)
        /// Lists of values.
        case sequence([AMQPValue])
    }

    /// Annotations for this hop.
    public var deliveryAnnotations: AMQPMap?
    /// Annotations for all hops.
    public var messageAnnotations: AMQPMap?
    /// The standard properties.
    public var properties: MessageProperties?
    /// The application's properties.
    public var applicationProperties: AMQPMap?
    /// The body.
    public var body: Body = .none

    /// A message without any section.
    public init() {}

    /// Decodes a payload.
    public init(payload: ByteBuffer, limits: AMQPLimits = AMQPLimits()) throws(AMQPDecodeError) {
        let sections = try MessageSections(payload: payload, limits: limits)
        if let entries = sections.deliveryAnnotations { deliveryAnnotations = try entries.decoded() }
        if let entries = sections.messageAnnotations { messageAnnotations = try entries.decoded() }
        if let list = sections.properties { properties = try MessageProperties(list: list) }
        if let entries = sections.applicationProperties { applicationProperties = try entries.decoded() }
        switch sections.body {
        case .none: break
        case .data(let bytes): body = .data(bytes)
        case .dataSections(let all):
            var joined = ByteBuffer()
            for bytes in all { joined.writeImmutableBuffer(bytes) }
            body = .data(joined)
        case .value(let encoded):
            var reader = AMQPReader(encoded, limits: limits)
            body = .value(try reader.readValue())
        case .sequences(let all):
            var lists: [AMQPValue] = []
            for encoded in all {
                var reader = AMQPReader(encoded, limits: limits)
                lists.append(try reader.readValue())
            }
            body = .sequence(lists)
        }
    }

    /// Appends the message to `buffer`.
    public func encode(into buffer: inout ByteBuffer) {
        if let deliveryAnnotations {
            buffer.writeAMQPDescriptor(Descriptor.deliveryAnnotations)
            buffer.writeAMQPMap(deliveryAnnotations)
        }
        if let messageAnnotations {
            buffer.writeAMQPDescriptor(Descriptor.messageAnnotations)
            buffer.writeAMQPMap(messageAnnotations)
        }
        properties?.encode(into: &buffer)
        if let applicationProperties {
            buffer.writeAMQPDescriptor(Descriptor.applicationProperties)
            buffer.writeAMQPMap(applicationProperties)
        }
        switch body {
        case .none: break
        case .data(let bytes): buffer.writeAMQPDataSection(bytes)
        case .value(let value):
            buffer.writeAMQPDescriptor(Descriptor.amqpValue)
            buffer.writeAMQPValue(value)
        case .sequence(let lists):
            for list in lists {
                buffer.writeAMQPDescriptor(Descriptor.amqpSequence)
                buffer.writeAMQPValue(list)
            }
        }
    }

    /// The encoded message.
    public var encoded: ByteBuffer {
        var buffer = ByteBuffer()
        encode(into: &buffer)
        return buffer
    }
}
