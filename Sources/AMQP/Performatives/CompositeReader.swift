// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

public import NIOCore

/// Reads the fields of a described list one after another; fields beyond its end are null (AMQP 1.4).
public struct CompositeReader {
    /// The code of the descriptor.
    public let code: UInt64
    /// The reader behind it; at the end of the list after ``finish()``.
    public var reader: AMQPReader
    private var left: Int
    private let end: Int

    /// Begins to read a described list.
    public init(_ reader: AMQPReader) throws(AMQPDecodeError) {
        self.reader = reader
        code = try self.reader.readDescriptor()
        let header = try self.reader.readListHeader()
        left = header.count
        end = self.reader.buffer.readerIndex + header.bytes
    }

    private mutating func take() throws(AMQPDecodeError) -> Bool {
        guard left > 0 else { return false }
        guard reader.buffer.readerIndex < end else { throw .inconsistentSize }
        left -= 1
        return true
    }

    /// The next field as boolean.
    public mutating func bool() throws(AMQPDecodeError) -> Bool? { try take() ? try reader.readBool() : nil }

    /// The next field as ubyte.
    public mutating func ubyte() throws(AMQPDecodeError) -> UInt8? { try take() ? try reader.readUByte() : nil }

    /// The next field as ushort.
    public mutating func ushort() throws(AMQPDecodeError) -> UInt16? { try take() ? try reader.readUShort() : nil }

    /// The next field as uint.
    public mutating func uint() throws(AMQPDecodeError) -> UInt32? { try take() ? try reader.readUInt() : nil }

    /// The next field as ulong.
    public mutating func ulong() throws(AMQPDecodeError) -> UInt64? { try take() ? try reader.readULong() : nil }

    /// The next field as timestamp.
    public mutating func timestamp() throws(AMQPDecodeError) -> Int64? { try take() ? try reader.readTimestamp() : nil }

    /// The next field as string.
    public mutating func string() throws(AMQPDecodeError) -> String? { try take() ? try reader.readString() : nil }

    /// The next field as symbol.
    public mutating func symbol() throws(AMQPDecodeError) -> String? { try take() ? try reader.readSymbol() : nil }

    /// The next field as string or symbol.
    public mutating func text() throws(AMQPDecodeError) -> String? { try take() ? try reader.readText() : nil }

    /// The next field as binary.
    public mutating func binary() throws(AMQPDecodeError) -> ByteBuffer? { try take() ? try reader.readBinary() : nil }

    /// The next field as map.
    public mutating func map() throws(AMQPDecodeError) -> AMQPMap? { try take() ? try reader.readMap() : nil }

    /// The next field as any value; null is nil.
    public mutating func value() throws(AMQPDecodeError) -> AMQPValue? {
        guard try take() else { return nil }
        let value = try reader.readValue()
        return value == .null ? nil : value
    }

    /// The next field as one symbol or an array of them.
    public mutating func symbols() throws(AMQPDecodeError) -> [String]? {
        guard let value = try value() else { return nil }
        var symbols: [String] = []
        for item in value.multiple {
            guard let text = item.text else { throw .unexpectedType(TypeCode.array32) }
            symbols.append(text)
        }
        return symbols
    }

    /// The next field as described list that `body` reads.
    mutating func composite<T>(
        _ body: (inout CompositeReader) throws(AMQPDecodeError) -> T
    ) throws(AMQPDecodeError) -> T? {
        guard try take() else { return nil }
        if reader.buffer.getInteger(at: reader.buffer.readerIndex, as: UInt8.self) == TypeCode.null {
            reader.buffer.moveReaderIndex(forwardBy: 1)
            return nil
        }
        var inner = try CompositeReader(reader)
        let result = try body(&inner)
        reader = try inner.finish()
        return result
    }

    /// Passes over fields that are not known here, and returns the reader behind the list.
    public mutating func finish() throws(AMQPDecodeError) -> AMQPReader {
        while left > 0 {
            _ = try take()
            try reader.skipValue()
        }
        guard reader.buffer.readerIndex == end else { throw .inconsistentSize }
        return reader
    }
}
