// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

public import AMQP
public import NIOCore

/// An event as it arrived, cut into sections and not decoded any further.
public struct ArrivedEvent: Sendable {
    /// The partition that it came from.
    public let partition: String
    /// Its sections.
    public let sections: MessageSections

    /// Makes an event of its sections.
    public init(partition: String, sections: MessageSections) {
        self.partition = partition
        self.sections = sections
    }

    /// The body; empty when it is not bytes.
    public var body: ByteBuffer {
        guard case .data(let bytes) = self.sections.body else { return ByteBuffer() }
        return bytes
    }
}

/// An event decoded.
public struct ReceivedEvent: Sendable {
    /// The partition that it came from.
    public let partition: String
    /// Its number in the partition.
    public let sequenceNumber: Int64
    /// Its offset in the partition.
    public let offset: String
    /// When it entered the partition, in milliseconds since 1970.
    public let enqueuedMilliseconds: Int64
    /// The device that sent it, or that it is about.
    public let deviceID: String?
    /// What the hub stamped, the above included.
    public let annotations: AMQPMap
    /// The standard properties.
    public let properties: MessageProperties
    /// The application's properties.
    public let applicationProperties: AMQPMap
    /// The body; empty when it is not bytes.
    public let body: ByteBuffer

    /// Decodes an event.
    ///
    /// - Throws: ``HubClientError/protocolViolation(_:)`` when it is not in the form that events have.
    public init(_ event: ArrivedEvent) throws(HubClientError) {
        do throws(AMQPDecodeError) {
            let sections = event.sections
            self.annotations = try sections.messageAnnotations?.decoded() ?? [:]
            self.properties = try Self.properties(of: sections)
            self.applicationProperties = try sections.applicationProperties?.decoded() ?? [:]
        } catch {
            throw .protocolViolation("an event cannot be decoded: \(error)")
        }
        guard let sequenceNumber = self.annotations["x-opt-sequence-number"]?.integer,
            let offset = self.annotations["x-opt-offset"]?.text,
            case .timestamp(let enqueued)? = self.annotations["x-opt-enqueued-time"]
        else {
            throw .protocolViolation("an event has no sequence number, offset or enqueued time")
        }
        self.partition = event.partition
        self.sequenceNumber = sequenceNumber
        self.offset = offset
        self.enqueuedMilliseconds = enqueued
        self.deviceID = self.annotations["iothub-connection-device-id"]?.text
        self.body = event.body
    }

    private static func properties(of sections: MessageSections) throws(AMQPDecodeError) -> MessageProperties {
        guard let list = sections.properties else { return .init() }
        return try MessageProperties(list: list)
    }
}
