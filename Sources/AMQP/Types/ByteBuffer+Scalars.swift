// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

public import NIOCore

/// Which of a type's encodings to write.
public enum AMQPEncoding: Sendable {
    /// The smallest one that holds the value.
    case compact
    /// The one that holds every value of the type.
    case wide
}

// Each method writes a constructor and what follows it; nil is written as null.
extension ByteBuffer {
    /// Writes null.
    public mutating func writeAMQPNull() { writeInteger(TypeCode.null) }

    /// Writes a boolean.
    public mutating func writeAMQPBool(_ value: Bool?, _ encoding: AMQPEncoding = .compact) {
        guard let value else { return writeAMQPNull() }
        switch encoding {
        case .compact: writeInteger(value ? TypeCode.booleanTrue : TypeCode.booleanFalse)
        case .wide: writeMultipleIntegers(TypeCode.boolean, value ? UInt8(1) : UInt8(0))
        }
    }

    /// Writes a ubyte.
    public mutating func writeAMQPUByte(_ value: UInt8?) {
        guard let value else { return writeAMQPNull() }
        writeMultipleIntegers(TypeCode.ubyte, value)
    }

    /// Writes a ushort.
    public mutating func writeAMQPUShort(_ value: UInt16?) {
        guard let value else { return writeAMQPNull() }
        writeMultipleIntegers(TypeCode.ushort, value)
    }

    /// Writes a uint.
    public mutating func writeAMQPUInt(_ value: UInt32?, _ encoding: AMQPEncoding = .compact) {
        guard let value else { return writeAMQPNull() }
        switch value {
        case 0 where encoding == .compact: writeInteger(TypeCode.uintZero)
        case 0...255 where encoding == .compact: writeMultipleIntegers(TypeCode.uintSmall, UInt8(value))
        default: writeMultipleIntegers(TypeCode.uint, value)
        }
    }

    /// Writes a ulong.
    public mutating func writeAMQPULong(_ value: UInt64?, _ encoding: AMQPEncoding = .compact) {
        guard let value else { return writeAMQPNull() }
        switch value {
        case 0 where encoding == .compact: writeInteger(TypeCode.ulongZero)
        case 0...255 where encoding == .compact: writeMultipleIntegers(TypeCode.ulongSmall, UInt8(value))
        default: writeMultipleIntegers(TypeCode.ulong, value)
        }
    }

    /// Writes a byte.
    public mutating func writeAMQPByte(_ value: Int8) { writeMultipleIntegers(TypeCode.byte, value) }

    /// Writes a short.
    public mutating func writeAMQPShort(_ value: Int16) { writeMultipleIntegers(TypeCode.short, value) }

    /// Writes an int.
    public mutating func writeAMQPInt(_ value: Int32, _ encoding: AMQPEncoding = .compact) {
        guard encoding == .compact, let small = Int8(exactly: value) else {
            writeMultipleIntegers(TypeCode.int, value)
            return
        }
        writeMultipleIntegers(TypeCode.intSmall, small)
    }

    /// Writes a long.
    public mutating func writeAMQPLong(_ value: Int64, _ encoding: AMQPEncoding = .compact) {
        guard encoding == .compact, let small = Int8(exactly: value) else {
            writeMultipleIntegers(TypeCode.long, value)
            return
        }
        writeMultipleIntegers(TypeCode.longSmall, small)
    }

    /// Writes a timestamp in milliseconds since 1970.
    public mutating func writeAMQPTimestamp(_ milliseconds: Int64?) {
        guard let milliseconds else { return writeAMQPNull() }
        writeMultipleIntegers(TypeCode.timestamp, milliseconds)
    }

    /// Writes a UUID.
    public mutating func writeAMQPUUID(_ value: AMQPUUID) {
        writeMultipleIntegers(TypeCode.uuid, value.high, value.low)
    }

    /// Writes a string.
    public mutating func writeAMQPString(_ value: String?, _ encoding: AMQPEncoding = .compact) {
        guard let value else { return writeAMQPNull() }
        writeAMQPLength(value.utf8.count, TypeCode.string8, TypeCode.string32, encoding)
        writeString(value)
    }

    /// Writes a string whose UTF-8 bytes are already in a buffer.
    public mutating func writeAMQPString(utf8 value: ByteBuffer) {
        writeAMQPLength(value.readableBytes, TypeCode.string8, TypeCode.string32, .compact)
        writeImmutableBuffer(value)
    }

    /// Writes a symbol.
    public mutating func writeAMQPSymbol(_ value: String?, _ encoding: AMQPEncoding = .compact) {
        guard let value else { return writeAMQPNull() }
        writeAMQPLength(value.utf8.count, TypeCode.symbol8, TypeCode.symbol32, encoding)
        guard value.utf8.contains(where: { $0 >= 0x80 }) else {
            writeString(value)
            return
        }
        // Text that came as a string where a symbol belongs: no peer can read other bytes here (AMQP 1.6.21).
        writeBytes(value.utf8.map { $0 < 0x80 ? $0 : UInt8(ascii: "?") })
    }

    /// Writes a string of UTF-8 bytes.
    public mutating func writeAMQPString(utf8 bytes: UnsafeRawBufferPointer) {
        writeAMQPLength(bytes.count, TypeCode.string8, TypeCode.string32, .compact)
        writeBytes(bytes)
    }

    /// Writes a symbol of ASCII bytes.
    public mutating func writeAMQPSymbol(ascii bytes: UnsafeRawBufferPointer) {
        writeAMQPLength(bytes.count, TypeCode.symbol8, TypeCode.symbol32, .compact)
        writeBytes(bytes)
    }

    /// Writes a binary of bytes.
    public mutating func writeAMQPBinary(bytes: UnsafeRawBufferPointer) {
        writeAMQPLength(bytes.count, TypeCode.binary8, TypeCode.binary32, .compact)
        writeBytes(bytes)
    }

    /// Writes a symbol whose ASCII bytes are already in a buffer.
    public mutating func writeAMQPSymbol(ascii value: ByteBuffer) {
        writeAMQPLength(value.readableBytes, TypeCode.symbol8, TypeCode.symbol32, .compact)
        writeImmutableBuffer(value)
    }

    /// Writes a binary.
    public mutating func writeAMQPBinary(_ value: ByteBuffer?, _ encoding: AMQPEncoding = .compact) {
        guard let value else { return writeAMQPNull() }
        writeAMQPLength(value.readableBytes, TypeCode.binary8, TypeCode.binary32, encoding)
        writeImmutableBuffer(value)
    }

    /// Writes a string of the decimal digits of `value`.
    public mutating func writeAMQPDecimalString(_ value: UInt64) {
        var digits = 1
        var rest = value / 10
        while rest > 0 {
            digits += 1
            rest /= 10
        }
        writeMultipleIntegers(TypeCode.string8, UInt8(digits))
        let start = writerIndex
        writeRepeatingByte(UInt8(ascii: "0"), count: digits)
        rest = value
        var index = start + digits - 1
        while rest > 0 {
            setInteger(UInt8(ascii: "0") + UInt8(rest % 10), at: index)
            rest /= 10
            index -= 1
        }
    }

    private mutating func writeAMQPLength(_ count: Int, _ small: UInt8, _ large: UInt8, _ encoding: AMQPEncoding) {
        if encoding == .compact, count <= 255 {
            writeMultipleIntegers(small, UInt8(count))
        } else {
            writeMultipleIntegers(large, UInt32(count))
        }
    }
}
