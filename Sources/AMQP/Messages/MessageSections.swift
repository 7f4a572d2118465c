// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

public import NIOCore

/// A message cut into its sections, none of which is decoded (AMQP 3.2).
///
/// Every slice shares memory with the payload. Sections are taken in any order, for some clients do not keep the
/// standard's; a section that may occur only once and comes twice is an error.
public struct MessageSections: Equatable, Sendable {
    /// The entries of a map section without its header.
    public struct MapEntries: Equatable, Sendable {
        /// The number of keys and values together.
        public var items: Int
        /// Keys and values, one after another.
        public var bytes: ByteBuffer

        /// No entries.
        public init() {
            items = 0
            bytes = ByteBuffer()
        }

        /// Entries that are already encoded.
        public init(items: Int, bytes: ByteBuffer) {
            self.items = items
            self.bytes = bytes
        }

        /// The entries decoded.
        public func decoded() throws(AMQPDecodeError) -> AMQPMap {
            var reader = AMQPReader(bytes)
            var map = AMQPMap()
            map.entries.reserveCapacity(items / 2)
            for _ in 0..<items / 2 {
                let key = try reader.readValue()
                map.append(key, try reader.readValue())
            }
            guard reader.isAtEnd else { throw .inconsistentSize }
            return map
        }
    }

    /// What a message carries.
    public enum Body: Equatable, Sendable {
        /// No body section at all.
        case none
        /// The bytes of one data section.
        case data(ByteBuffer)
        /// The bytes of several data sections.
        indirect case dataSections([ByteBuffer])
        /// The encoded lists of amqp-sequence sections.
        indirect case sequences([ByteBuffer])
        /// The encoded value of an amqp-value section.
        case value(ByteBuffer)
    }

    /// The encoded list of the header.
    public var header: ByteBuffer?
    /// The delivery annotations.
    public var deliveryAnnotations: MapEntries?
    /// The message annotations.
    public var messageAnnotations: MapEntries?
    /// The encoded list of the properties.
    public var properties: ByteBuffer?
    /// The application properties.
    public var applicationProperties: MapEntries?
    /// The body.
    public var body: Body = .none
    /// The footer.
    public var footer: MapEntries?

    /// A message without any section.
    public init() {}

    /// Cuts `payload` into its sections.
    public init(payload: ByteBuffer, limits: AMQPLimits = AMQPLimits()) throws(AMQPDecodeError) {
        var reader = AMQPReader(payload, limits: limits)
        while !reader.isAtEnd {
            let code = try reader.readDescriptor()
            switch UInt8(exactly: code) {
            case Descriptor.header: try Self.set(&header, Self.list(&reader))
            case Descriptor.deliveryAnnotations: try Self.set(&deliveryAnnotations, Self.map(&reader))
            case Descriptor.messageAnnotations: try Self.set(&messageAnnotations, Self.map(&reader))
            case Descriptor.properties: try Self.set(&properties, Self.list(&reader))
            case Descriptor.applicationProperties: try Self.set(&applicationProperties, Self.map(&reader))
            case Descriptor.footer: try Self.set(&footer, Self.map(&reader))
            case Descriptor.data:
                guard let bytes = try reader.readBinary() else { throw .unexpectedType(TypeCode.null) }
                try add(data: bytes)
            case Descriptor.amqpSequence: try add(sequence: Self.list(&reader))
            case Descriptor.amqpValue:
                guard body == .none else { throw .inconsistentSize }
                body = .value(try Self.skipped(&reader))
            default: throw .unknownDescriptor
            }
        }
    }

    private static func set<T>(_ section: inout T?, _ value: T) throws(AMQPDecodeError) {
        guard section == nil else { throw .inconsistentSize }
        section = value
    }

    private mutating func add(data: ByteBuffer) throws(AMQPDecodeError) {
        switch body {
        case .none: body = .data(data)
        case .data(let first): body = .dataSections([first, data])
        case .dataSections(var all):
            body = .none
            all.append(data)
            body = .dataSections(all)
        case .sequences, .value: throw .inconsistentSize
        }
    }

    private mutating func add(sequence: ByteBuffer) throws(AMQPDecodeError) {
        switch body {
        case .none: body = .sequences([sequence])
        case .sequences(let all): body = .sequences(all + [sequence])
        case .data, .dataSections, .value: throw .inconsistentSize
        }
    }

    /// The encoded value that comes next.
    private static func skipped(_ reader: inout AMQPReader) throws(AMQPDecodeError) -> ByteBuffer {
        let before = reader.buffer
        try reader.skipValue()
        guard
            let slice = before.getSlice(
                at: before.readerIndex,
                length: before.readableBytes - reader.buffer.readableBytes
            )
        else { throw .truncated }
        return slice
    }

    private static func list(_ reader: inout AMQPReader) throws(AMQPDecodeError) -> ByteBuffer {
        let slice = try skipped(&reader)
        var check = AMQPReader(slice)
        _ = try check.readListHeader()
        return slice
    }

    private static func map(_ reader: inout AMQPReader) throws(AMQPDecodeError) -> MapEntries {
        let header = try reader.readMapHeader()
        return MapEntries(items: header.count, bytes: try reader.slice(header.bytes))
    }
}
