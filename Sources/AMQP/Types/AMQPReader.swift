// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

public import NIOCore

/// Reads AMQP values from a buffer that holds them completely (AMQP 1.1 to 1.6).
///
/// The typed methods return nil for null, accept every encoding of their type, and leave the buffer at an undefined place
/// when they throw.
public struct AMQPReader {
    /// What is left to be read.
    public var buffer: ByteBuffer
    var elementsLeft: Int
    let depthMax: Int

    /// A reader of `buffer` within the limits for depth and number of values.
    public init(_ buffer: ByteBuffer, depthMax: Int = 32, elementsMax: Int = 65_536) {
        self.buffer = buffer
        self.elementsLeft = elementsMax
        self.depthMax = depthMax
    }

    /// A reader of `buffer` within `limits`.
    public init(_ buffer: ByteBuffer, limits: AMQPLimits) {
        self.init(buffer, depthMax: limits.nestingDepthMax, elementsMax: limits.elementsMax)
    }

    /// Whether everything was read.
    public var isAtEnd: Bool { buffer.readableBytes == 0 }

    mutating func fixed<T: FixedWidthInteger>(_ type: T.Type) throws(AMQPDecodeError) -> T {
        guard let value = buffer.readInteger(as: T.self) else { throw .truncated }
        return value
    }

    mutating func slice(_ count: Int) throws(AMQPDecodeError) -> ByteBuffer {
        guard let slice = buffer.readSlice(length: count) else { throw .truncated }
        return slice
    }

    mutating func utf8(_ count: Int) throws(AMQPDecodeError) -> String {
        guard count <= buffer.readableBytes else { throw .truncated }
        let text = buffer.withUnsafeReadableBytes { bytes in
            String(validating: UnsafeRawBufferPointer(rebasing: bytes[..<count]), as: UTF8.self)
        }
        guard let text else { throw .invalidText }
        buffer.moveReaderIndex(forwardBy: count)
        return text
    }

    mutating func ascii(_ count: Int) throws(AMQPDecodeError) -> String {
        guard count <= buffer.readableBytes else { throw .truncated }
        let text: String? = buffer.withUnsafeReadableBytes { bytes in
            let slice = UnsafeRawBufferPointer(rebasing: bytes[..<count])
            return slice.allSatisfy { $0 < 0x80 } ? String(decoding: slice, as: UTF8.self) : nil
        }
        guard let text else { throw .invalidText }
        buffer.moveReaderIndex(forwardBy: count)
        return text
    }

    /// Reads a boolean.
    public mutating func readBool() throws(AMQPDecodeError) -> Bool? {
        switch try fixed(UInt8.self) {
        case TypeCode.null: return nil
        case TypeCode.booleanTrue: return true
        case TypeCode.booleanFalse: return false
        case TypeCode.boolean: return try boolean()
        case let code: throw .unexpectedType(code)
        }
    }

    private mutating func boolean() throws(AMQPDecodeError) -> Bool {
        switch try fixed(UInt8.self) {
        case 0: return false
        case 1: return true
        default: throw .inconsistentSize
        }
    }

    /// Reads a ubyte.
    public mutating func readUByte() throws(AMQPDecodeError) -> UInt8? {
        switch try fixed(UInt8.self) {
        case TypeCode.null: return nil
        case TypeCode.ubyte: return try fixed(UInt8.self)
        case let code: throw .unexpectedType(code)
        }
    }

    /// Reads a ushort.
    public mutating func readUShort() throws(AMQPDecodeError) -> UInt16? {
        switch try fixed(UInt8.self) {
        case TypeCode.null: return nil
        case TypeCode.ushort: return try fixed(UInt16.self)
        case let code: throw .unexpectedType(code)
        }
    }

    /// Reads a uint.
    public mutating func readUInt() throws(AMQPDecodeError) -> UInt32? {
        switch try fixed(UInt8.self) {
        case TypeCode.null: return nil
        case TypeCode.uintZero: return 0
        case TypeCode.uintSmall: return UInt32(try fixed(UInt8.self))
        case TypeCode.uint: return try fixed(UInt32.self)
        case let code: throw .unexpectedType(code)
        }
    }

    /// Reads a ulong.
    public mutating func readULong() throws(AMQPDecodeError) -> UInt64? {
        switch try fixed(UInt8.self) {
        case TypeCode.null: return nil
        case TypeCode.ulongZero: return 0
        case TypeCode.ulongSmall: return UInt64(try fixed(UInt8.self))
        case TypeCode.ulong: return try fixed(UInt64.self)
        case let code: throw .unexpectedType(code)
        }
    }

    /// Reads a timestamp in milliseconds since 1970.
    public mutating func readTimestamp() throws(AMQPDecodeError) -> Int64? {
        switch try fixed(UInt8.self) {
        case TypeCode.null: return nil
        case TypeCode.timestamp: return try fixed(Int64.self)
        case let code: throw .unexpectedType(code)
        }
    }

    /// Reads a string.
    public mutating func readString() throws(AMQPDecodeError) -> String? {
        switch try fixed(UInt8.self) {
        case TypeCode.null: return nil
        case TypeCode.string8: return try utf8(Int(try fixed(UInt8.self)))
        case TypeCode.string32: return try utf8(Int(try fixed(UInt32.self)))
        case let code: throw .unexpectedType(code)
        }
    }

    /// Reads a symbol.
    public mutating func readSymbol() throws(AMQPDecodeError) -> String? {
        switch try fixed(UInt8.self) {
        case TypeCode.null: return nil
        case TypeCode.symbol8: return try ascii(Int(try fixed(UInt8.self)))
        case TypeCode.symbol32: return try ascii(Int(try fixed(UInt32.self)))
        case let code: throw .unexpectedType(code)
        }
    }

    /// Reads a string or a symbol: some clients send the one where the standard wants the other.
    public mutating func readText() throws(AMQPDecodeError) -> String? {
        switch try fixed(UInt8.self) {
        case TypeCode.null: return nil
        case TypeCode.string8: return try utf8(Int(try fixed(UInt8.self)))
        case TypeCode.string32: return try utf8(Int(try fixed(UInt32.self)))
        case TypeCode.symbol8: return try ascii(Int(try fixed(UInt8.self)))
        case TypeCode.symbol32: return try ascii(Int(try fixed(UInt32.self)))
        case let code: throw .unexpectedType(code)
        }
    }

    /// Reads a binary as a slice that shares its memory with the input.
    public mutating func readBinary() throws(AMQPDecodeError) -> ByteBuffer? {
        switch try fixed(UInt8.self) {
        case TypeCode.null: return nil
        case TypeCode.binary8: return try slice(Int(try fixed(UInt8.self)))
        case TypeCode.binary32: return try slice(Int(try fixed(UInt32.self)))
        case let code: throw .unexpectedType(code)
        }
    }

    /// Reads a map.
    public mutating func readMap() throws(AMQPDecodeError) -> AMQPMap? {
        switch try readValue() {
        case .null: return nil
        case .map(let map): return map
        default: throw .unexpectedType(TypeCode.map32)
        }
    }

    /// Reads the header of a list: its number of values, and how many bytes they take.
    public mutating func readListHeader() throws(AMQPDecodeError) -> (count: Int, bytes: Int) {
        switch try fixed(UInt8.self) {
        case TypeCode.list0: return (0, 0)
        case TypeCode.list8: return try compoundHeader(UInt8.self)
        case TypeCode.list32: return try compoundHeader(UInt32.self)
        case let code: throw .unexpectedType(code)
        }
    }

    /// Reads the header of a map: its number of keys and values together, and how many bytes they take.
    public mutating func readMapHeader() throws(AMQPDecodeError) -> (count: Int, bytes: Int) {
        let header: (count: Int, bytes: Int)
        switch try fixed(UInt8.self) {
        case TypeCode.map8: header = try compoundHeader(UInt8.self)
        case TypeCode.map32: header = try compoundHeader(UInt32.self)
        case let code: throw .unexpectedType(code)
        }
        guard header.count & 1 == 0 else { throw .inconsistentSize }
        return header
    }

    /// Size and count of a list or map; the bytes are all there, and no more values are claimed than bytes.
    mutating func compoundHeader<T: FixedWidthInteger>(
        _ type: T.Type
    ) throws(AMQPDecodeError) -> (count: Int, bytes: Int) {
        let size = Int(try fixed(T.self))
        guard size >= MemoryLayout<T>.size else { throw .inconsistentSize }
        guard size <= buffer.readableBytes else { throw .truncated }
        let count = Int(try fixed(T.self))
        let bytes = size - MemoryLayout<T>.size
        guard count <= bytes else { throw .inconsistentSize }
        return (count, bytes)
    }

    /// Reads the descriptor of a described value as the code it has or stands for.
    ///
    /// - Throws: ``AMQPDecodeError/unexpectedType(_:)`` when the value is not described.
    public mutating func readDescriptor() throws(AMQPDecodeError) -> UInt64 {
        let code = try fixed(UInt8.self)
        guard code == TypeCode.described else { throw .unexpectedType(code) }
        switch try fixed(UInt8.self) {
        case TypeCode.ulongSmall: return UInt64(try fixed(UInt8.self))
        case TypeCode.ulong: return try fixed(UInt64.self)
        case TypeCode.ulongZero: return 0
        case TypeCode.symbol8: return try Descriptor.code(ascii(Int(fixed(UInt8.self))))
        case TypeCode.symbol32: return try Descriptor.code(ascii(Int(fixed(UInt32.self))))
        case let code: throw .unexpectedType(code)
        }
    }

    /// Passes over the next value without looking into it.
    public mutating func skipValue() throws(AMQPDecodeError) {
        var code = try fixed(UInt8.self)
        var values = 1
        var depth = 0
        // A described value is a descriptor and a value, either of which may be described again.
        while true {
            if code == TypeCode.described {
                values += 1
                depth += 1
                guard depth <= depthMax else { throw .tooDeep }
            } else {
                let count = try bodyLength(of: code)
                guard count <= buffer.readableBytes else { throw .truncated }
                buffer.moveReaderIndex(forwardBy: count)
                values -= 1
                if values == 0 { return }
            }
            code = try fixed(UInt8.self)
        }
    }

    /// The number of bytes after the constructor, read from the size field where there is one.
    private mutating func bodyLength(of code: UInt8) throws(AMQPDecodeError) -> Int {
        switch code {
        case TypeCode.null, TypeCode.booleanTrue, TypeCode.booleanFalse, TypeCode.uintZero, TypeCode.ulongZero,
            TypeCode.list0:
            return 0
        case TypeCode.boolean, TypeCode.ubyte, TypeCode.byte, TypeCode.uintSmall, TypeCode.ulongSmall,
            TypeCode.intSmall, TypeCode.longSmall:
            return 1
        case TypeCode.ushort, TypeCode.short: return 2
        case TypeCode.uint, TypeCode.int, TypeCode.float, TypeCode.char, TypeCode.decimal32: return 4
        case TypeCode.ulong, TypeCode.long, TypeCode.double, TypeCode.timestamp, TypeCode.decimal64: return 8
        case TypeCode.decimal128, TypeCode.uuid: return 16
        case TypeCode.binary8, TypeCode.string8, TypeCode.symbol8, TypeCode.list8, TypeCode.map8, TypeCode.array8:
            return Int(try fixed(UInt8.self))
        case TypeCode.binary32, TypeCode.string32, TypeCode.symbol32, TypeCode.list32, TypeCode.map32,
            TypeCode.array32:
            return Int(try fixed(UInt32.self))
        default: throw .unknownConstructor(code)
        }
    }
}
