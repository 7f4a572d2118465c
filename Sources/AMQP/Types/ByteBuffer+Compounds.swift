// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

public import NIOCore

extension ByteBuffer {
    /// Writes the header of a map whose encoded entries the caller writes next.
    ///
    /// - Parameters:
    ///   - items: The number of keys and values together.
    ///   - bytes: The number of bytes that all entries take.
    public mutating func writeAMQPMapHeader(items: Int, bytes: Int) {
        writeCompoundHeader(items, bytes, TypeCode.map8, TypeCode.map32, .compact)
    }

    /// Writes a described list: `00 53 code`, then a list of `count` fields that `fields` writes.
    ///
    /// Always a list with a size, for pyamqp cannot read a list0 here.
    public mutating func writeAMQPComposite(_ code: UInt8, count: Int, fields: (inout ByteBuffer) -> Void) {
        writeMultipleIntegers(TypeCode.described, TypeCode.ulongSmall, code)
        writeSized(count, TypeCode.list8, TypeCode.list32, .compact, items: fields)
    }

    /// Writes a descriptor with the given code; the described value follows.
    public mutating func writeAMQPDescriptor(_ code: UInt8) {
        writeMultipleIntegers(TypeCode.described, TypeCode.ulongSmall, code)
    }

    /// Writes any value.
    public mutating func writeAMQPValue(_ value: AMQPValue, _ encoding: AMQPEncoding = .compact) {
        switch value {
        case .null: writeAMQPNull()
        case .bool(let value): writeAMQPBool(value, encoding)
        case .ubyte(let value): writeAMQPUByte(value)
        case .ushort(let value): writeAMQPUShort(value)
        case .uint(let value): writeAMQPUInt(value, encoding)
        case .ulong(let value): writeAMQPULong(value, encoding)
        case .byte(let value): writeAMQPByte(value)
        case .short(let value): writeAMQPShort(value)
        case .int(let value): writeAMQPInt(value, encoding)
        case .long(let value): writeAMQPLong(value, encoding)
        case .float(let value): writeMultipleIntegers(TypeCode.float, value.bitPattern)
        case .double(let value): writeMultipleIntegers(TypeCode.double, value.bitPattern)
        case .decimal32(let value): writeMultipleIntegers(TypeCode.decimal32, value)
        case .decimal64(let value): writeMultipleIntegers(TypeCode.decimal64, value)
        case .decimal128(let value): writeMultipleIntegers(TypeCode.decimal128, value.high, value.low)
        case .char(let value): writeMultipleIntegers(TypeCode.char, value)
        case .timestamp(let value): writeAMQPTimestamp(value)
        case .uuid(let value): writeAMQPUUID(value)
        case .binary(let value): writeAMQPBinary(value, encoding)
        case .string(let value): writeAMQPString(value, encoding)
        case .symbol(let value): writeAMQPSymbol(value, encoding)
        case .list(let values): writeAMQPList(values, encoding)
        case .map(let map): writeAMQPMap(map, encoding)
        case .array(let values): writeAMQPArray(values, encoding)
        case .described(let descriptor, let value):
            writeInteger(TypeCode.described)
            writeAMQPValue(descriptor, encoding)
            writeAMQPValue(value, encoding)
        }
    }

    /// Writes a list.
    public mutating func writeAMQPList(_ values: [AMQPValue], _ encoding: AMQPEncoding = .compact) {
        if values.isEmpty, encoding == .compact {
            writeInteger(TypeCode.list0)
            return
        }
        writeSized(values.count, TypeCode.list8, TypeCode.list32, encoding) { buffer in
            for value in values { buffer.writeAMQPValue(value, encoding) }
        }
    }

    /// Writes a map.
    public mutating func writeAMQPMap(_ map: AMQPMap?, _ encoding: AMQPEncoding = .compact) {
        guard let map else { return writeAMQPNull() }
        writeSized(map.entries.count * 2, TypeCode.map8, TypeCode.map32, encoding) { buffer in
            for entry in map.entries {
                buffer.writeAMQPValue(entry.key, encoding)
                buffer.writeAMQPValue(entry.value, encoding)
            }
        }
    }

    /// Writes an array; all values must be of the type of the first one.
    public mutating func writeAMQPArray(_ values: [AMQPValue], _ encoding: AMQPEncoding = .compact) {
        writeSized(values.count, TypeCode.array8, TypeCode.array32, encoding) { buffer in
            buffer.writeArrayItems(values, encoding)
        }
    }

    /// Writes an array of symbols, also when there is only one: uamqp cannot read a bare symbol.
    public mutating func writeAMQPSymbols(_ symbols: [String]?) {
        guard let symbols else { return writeAMQPNull() }
        writeAMQPArray(symbols.map { .symbol($0) })
    }

    private mutating func writeArrayItems(_ values: [AMQPValue], _ encoding: AMQPEncoding) {
        guard let first = values.first else {
            writeInteger(TypeCode.null)
            return
        }
        if case .described(let descriptor, _) = first {
            writeInteger(TypeCode.described)
            writeAMQPValue(descriptor)
            writeArrayItems(values.map { if case .described(_, let inner) = $0 { inner } else { .null } }, encoding)
            return
        }
        let code = Self.arrayConstructor(values, first, encoding)
        writeInteger(code)
        for value in values { writeArrayItem(value, code) }
    }

    /// The one constructor that holds every value of an array.
    private static func arrayConstructor(_ values: [AMQPValue], _ first: AMQPValue, _ encoding: AMQPEncoding) -> UInt8 {
        let small =
            encoding == .compact
            && values.allSatisfy { value in
                switch value {
                case .string(let text), .symbol(let text): text.utf8.count <= 255
                case .binary(let bytes): bytes.readableBytes <= 255
                default: false
                }
            }
        return switch first {
        case .null: TypeCode.null
        case .bool: TypeCode.boolean
        case .ubyte: TypeCode.ubyte
        case .ushort: TypeCode.ushort
        case .uint: TypeCode.uint
        case .ulong: TypeCode.ulong
        case .byte: TypeCode.byte
        case .short: TypeCode.short
        case .int: TypeCode.int
        case .long: TypeCode.long
        case .float: TypeCode.float
        case .double: TypeCode.double
        case .decimal32: TypeCode.decimal32
        case .decimal64: TypeCode.decimal64
        case .decimal128: TypeCode.decimal128
        case .char: TypeCode.char
        case .timestamp: TypeCode.timestamp
        case .uuid: TypeCode.uuid
        case .binary: small ? TypeCode.binary8 : TypeCode.binary32
        case .string: small ? TypeCode.string8 : TypeCode.string32
        case .symbol: small ? TypeCode.symbol8 : TypeCode.symbol32
        case .list: TypeCode.list32
        case .map: TypeCode.map32
        case .array: TypeCode.array32
        case .described: TypeCode.null
        }
    }

    /// Writes `value` in its wide form without the constructor; a string with the length that `code` has.
    private mutating func writeArrayItem(_ value: AMQPValue, _ code: UInt8) {
        let start = writerIndex
        let isSmall = code == TypeCode.string8 || code == TypeCode.symbol8 || code == TypeCode.binary8
        writeAMQPValue(value, isSmall ? .compact : .wide)
        precondition(
            getInteger(at: start, as: UInt8.self) == code,
            "the values of an array must be of one type"
        )
        moveBytes(from: start + 1, to: start, count: writerIndex - start - 1)
        moveWriterIndex(to: writerIndex - 1)
    }

    private mutating func writeCompoundHeader(
        _ count: Int,
        _ bytes: Int,
        _ small: UInt8,
        _ large: UInt8,
        _ encoding: AMQPEncoding
    ) {
        if encoding == .compact, bytes <= 254, count <= 255 {
            writeMultipleIntegers(small, UInt8(bytes + 1), UInt8(count))
        } else {
            writeMultipleIntegers(large, UInt32(bytes + 4), UInt32(count))
        }
    }

    /// Writes items behind a small header, and moves them when they turn out to need the large one.
    private mutating func writeSized(
        _ count: Int,
        _ small: UInt8,
        _ large: UInt8,
        _ encoding: AMQPEncoding,
        items: (inout ByteBuffer) -> Void
    ) {
        let start = writerIndex
        writeMultipleIntegers(small, UInt8(0), UInt8(0))
        items(&self)
        let bytes = writerIndex - start - 3
        if encoding == .compact, bytes <= 254, count <= 255 {
            setInteger(UInt8(bytes + 1), at: start + 1)
            setInteger(UInt8(count), at: start + 2)
            return
        }
        writeRepeatingByte(0, count: 6)
        moveBytes(from: start + 3, to: start + 9, count: bytes)
        setInteger(large, at: start)
        setInteger(UInt32(bytes + 4), at: start + 1)
        setInteger(UInt32(count), at: start + 5)
    }

    /// Moves readable bytes within the buffer; the ranges may overlap.
    mutating func moveBytes(from source: Int, to target: Int, count: Int) {
        let base = readerIndex
        withUnsafeMutableReadableBytes { bytes in
            guard count > 0, let start = bytes.baseAddress else { return }
            (start + (target - base)).copyMemory(from: start + (source - base), byteCount: count)
        }
    }
}
