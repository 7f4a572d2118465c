// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import NIOCore

extension AMQPReader {
    /// Reads the next value whatever its type is.
    public mutating func readValue() throws(AMQPDecodeError) -> AMQPValue {
        try readValue(depth: 0)
    }

    private mutating func readValue(depth: Int) throws(AMQPDecodeError) -> AMQPValue {
        let code = try fixed(UInt8.self)
        guard code == TypeCode.described else { return try readBody(code, depth: depth) }
        guard depth < depthMax else { throw .tooDeep }
        let descriptor = try readValue(depth: depth + 1)
        return .described(descriptor, try readValue(depth: depth + 1))
    }

    /// What follows the constructor `code`.
    private mutating func readBody(_ code: UInt8, depth: Int) throws(AMQPDecodeError) -> AMQPValue {
        guard elementsLeft > 0 else { throw .tooManyElements }
        elementsLeft -= 1
        switch code {
        case TypeCode.null: return .null
        case TypeCode.booleanTrue: return .bool(true)
        case TypeCode.booleanFalse: return .bool(false)
        case TypeCode.boolean:
            let byte = try fixed(UInt8.self)
            guard byte <= 1 else { throw .inconsistentSize }
            return .bool(byte == 1)
        case TypeCode.ubyte: return .ubyte(try fixed(UInt8.self))
        case TypeCode.ushort: return .ushort(try fixed(UInt16.self))
        case TypeCode.uint: return .uint(try fixed(UInt32.self))
        case TypeCode.uintSmall: return .uint(UInt32(try fixed(UInt8.self)))
        case TypeCode.uintZero: return .uint(0)
        case TypeCode.ulong: return .ulong(try fixed(UInt64.self))
        case TypeCode.ulongSmall: return .ulong(UInt64(try fixed(UInt8.self)))
        case TypeCode.ulongZero: return .ulong(0)
        case TypeCode.byte: return .byte(try fixed(Int8.self))
        case TypeCode.short: return .short(try fixed(Int16.self))
        case TypeCode.int: return .int(try fixed(Int32.self))
        case TypeCode.intSmall: return .int(Int32(try fixed(Int8.self)))
        case TypeCode.long: return .long(try fixed(Int64.self))
        case TypeCode.longSmall: return .long(Int64(try fixed(Int8.self)))
        case TypeCode.float: return .float(Float(bitPattern: try fixed(UInt32.self)))
        case TypeCode.double: return .double(Double(bitPattern: try fixed(UInt64.self)))
        case TypeCode.decimal32: return .decimal32(try fixed(UInt32.self))
        case TypeCode.decimal64: return .decimal64(try fixed(UInt64.self))
        case TypeCode.decimal128: return .decimal128(try readUUIDBody())
        case TypeCode.char: return .char(try fixed(UInt32.self))
        case TypeCode.timestamp: return .timestamp(try fixed(Int64.self))
        case TypeCode.uuid: return .uuid(try readUUIDBody())
        case TypeCode.binary8: return .binary(try slice(Int(try fixed(UInt8.self))))
        case TypeCode.binary32: return .binary(try slice(Int(try fixed(UInt32.self))))
        case TypeCode.string8: return .string(try utf8(Int(try fixed(UInt8.self))))
        case TypeCode.string32: return .string(try utf8(Int(try fixed(UInt32.self))))
        case TypeCode.symbol8: return .symbol(try ascii(Int(try fixed(UInt8.self))))
        case TypeCode.symbol32: return .symbol(try ascii(Int(try fixed(UInt32.self))))
        case TypeCode.list0: return .list([])
        case TypeCode.list8: return .list(try readItems(try compoundHeader(UInt8.self), depth: depth))
        case TypeCode.list32: return .list(try readItems(try compoundHeader(UInt32.self), depth: depth))
        case TypeCode.map8: return .map(try readEntries(try compoundHeader(UInt8.self), depth: depth))
        case TypeCode.map32: return .map(try readEntries(try compoundHeader(UInt32.self), depth: depth))
        case TypeCode.array8: return .array(try readArray(UInt8.self, depth: depth))
        case TypeCode.array32: return .array(try readArray(UInt32.self, depth: depth))
        default: throw .unknownConstructor(code)
        }
    }

    private mutating func readUUIDBody() throws(AMQPDecodeError) -> AMQPUUID {
        let high = try fixed(UInt64.self)
        return AMQPUUID(high: high, low: try fixed(UInt64.self))
    }

    private mutating func readItems(
        _ header: (count: Int, bytes: Int),
        depth: Int
    ) throws(AMQPDecodeError) -> [AMQPValue] {
        guard depth < depthMax else { throw .tooDeep }
        guard header.count <= elementsLeft else { throw .tooManyElements }
        let end = buffer.readerIndex + header.bytes
        var items: [AMQPValue] = []
        items.reserveCapacity(header.count)
        for _ in 0..<header.count {
            guard buffer.readerIndex < end else { throw .inconsistentSize }
            items.append(try readValue(depth: depth + 1))
        }
        guard buffer.readerIndex == end else { throw .inconsistentSize }
        return items
    }

    private mutating func readEntries(
        _ header: (count: Int, bytes: Int),
        depth: Int
    ) throws(AMQPDecodeError) -> AMQPMap {
        guard header.count & 1 == 0 else { throw .inconsistentSize }
        let items = try readItems(header, depth: depth)
        var map = AMQPMap()
        map.entries.reserveCapacity(items.count / 2)
        for index in stride(from: 0, to: items.count, by: 2) { map.append(items[index], items[index + 1]) }
        return map
    }

    private mutating func readArray<T: FixedWidthInteger>(
        _ type: T.Type,
        depth: Int
    ) throws(AMQPDecodeError) -> [AMQPValue] {
        guard depth < depthMax else { throw .tooDeep }
        let size = Int(try fixed(T.self))
        guard size > MemoryLayout<T>.size else { throw .inconsistentSize }
        guard size <= buffer.readableBytes else { throw .truncated }
        let end = buffer.readerIndex + size
        let count = Int(try fixed(T.self))
        // Elements may be of no bytes at all, so the count is only bounded by how many values are allowed.
        guard count <= elementsLeft else { throw .tooManyElements }
        var code = try fixed(UInt8.self)
        var descriptor: AMQPValue?
        if code == TypeCode.described {
            descriptor = try readValue(depth: depth + 1)
            code = try fixed(UInt8.self)
            guard code != TypeCode.described else { throw .unexpectedType(code) }
        }
        var items: [AMQPValue] = []
        items.reserveCapacity(min(count, size))
        for _ in 0..<count {
            let item = try readBody(code, depth: depth + 1)
            guard buffer.readerIndex <= end else { throw .inconsistentSize }
            items.append(descriptor.map { .described($0, item) } ?? item)
        }
        guard buffer.readerIndex == end else { throw .inconsistentSize }
        return items
    }
}
