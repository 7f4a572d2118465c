// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

public import NIOCore

/// Any AMQP value, for the control plane; the data plane works on encoded slices instead.
public enum AMQPValue: Hashable, Sendable {
    /// The absence of a value.
    case null
    /// A truth value.
    case bool(Bool)
    /// An unsigned integer of 8 bits.
    case ubyte(UInt8)
    /// An unsigned integer of 16 bits.
    case ushort(UInt16)
    /// An unsigned integer of 32 bits.
    case uint(UInt32)
    /// An unsigned integer of 64 bits.
    case ulong(UInt64)
    /// A signed integer of 8 bits.
    case byte(Int8)
    /// A signed integer of 16 bits.
    case short(Int16)
    /// A signed integer of 32 bits.
    case int(Int32)
    /// A signed integer of 64 bits.
    case long(Int64)
    /// A binary floating point number of 32 bits.
    case float(Float)
    /// A binary floating point number of 64 bits.
    case double(Double)
    /// A decimal number of 32 bits, as it is on the wire.
    case decimal32(UInt32)
    /// A decimal number of 64 bits, as it is on the wire.
    case decimal64(UInt64)
    /// A decimal number of 128 bits, as it is on the wire.
    case decimal128(AMQPUUID)
    /// One Unicode scalar, as its number.
    case char(UInt32)
    /// Milliseconds since 1970-01-01T00:00:00Z.
    case timestamp(Int64)
    /// A universally unique identifier.
    case uuid(AMQPUUID)
    /// Bytes.
    case binary(ByteBuffer)
    /// Unicode text.
    case string(String)
    /// A name of ASCII characters.
    case symbol(String)
    /// Values in order.
    case list([AMQPValue])
    /// Keys and values in order.
    case map(AMQPMap)
    /// Values of one type in order.
    case array([AMQPValue])
    /// A value with a descriptor that says what it means.
    indirect case described(AMQPValue, AMQPValue)

    /// The text of a string or a symbol.
    public var text: String? {
        switch self {
        case .string(let text), .symbol(let text): text
        default: nil
        }
    }

    /// The value of an integer of any width and sign, if it fits 64 bits signed.
    public var integer: Int64? {
        switch self {
        case .ubyte(let value): Int64(value)
        case .ushort(let value): Int64(value)
        case .uint(let value): Int64(value)
        case .ulong(let value): Int64(exactly: value)
        case .byte(let value): Int64(value)
        case .short(let value): Int64(value)
        case .int(let value): Int64(value)
        case .long(let value): value
        default: nil
        }
    }

    /// The elements of an array or list, and any other value as the only element; null has none.
    ///
    /// Fields declared as multiple may be a single value or an array (AMQP 1.4).
    public var multiple: [AMQPValue] {
        switch self {
        case .null: []
        case .array(let values), .list(let values): values
        default: [self]
        }
    }
}

/// Sixteen bytes, most significant first: a UUID or a decimal of 128 bits.
public struct AMQPUUID: Hashable, Sendable, CustomStringConvertible {
    /// The first eight bytes.
    public var high: UInt64
    /// The last eight bytes.
    public var low: UInt64

    /// A value from its two halves.
    public init(high: UInt64, low: UInt64) {
        self.high = high
        self.low = low
    }

    /// A value from its sixteen bytes, most significant first.
    public init(bytes: [UInt8]) {
        precondition(bytes.count == 16, "a uuid has 16 bytes")
        self.init(
            high: bytes[..<8].reduce(0) { $0 << 8 | UInt64($1) },
            low: bytes[8...].reduce(0) { $0 << 8 | UInt64($1) }
        )
    }

    /// The sixteen bytes, most significant first.
    public var bytes: [UInt8] {
        [high, low].flatMap { half in (0..<8).map { UInt8(truncatingIfNeeded: half >> (56 - 8 * $0)) } }
    }

    /// The usual form of a UUID: 36 characters, lower case.
    public var description: String {
        let digits = Array("0123456789abcdef".utf8)
        var text: [UInt8] = []
        text.reserveCapacity(36)
        for (index, byte) in bytes.enumerated() {
            if index == 4 || index == 6 || index == 8 || index == 10 { text.append(UInt8(ascii: "-")) }
            text.append(digits[Int(byte >> 4)])
            text.append(digits[Int(byte & 15)])
        }
        return String(decoding: text, as: UTF8.self)
    }
}

/// An AMQP map: entries in the order of the wire.
public struct AMQPMap: Hashable, Sendable, ExpressibleByDictionaryLiteral {
    /// One key with its value.
    public struct Entry: Hashable, Sendable {
        /// The key.
        public var key: AMQPValue
        /// The value.
        public var value: AMQPValue

        /// An entry from its parts.
        public init(key: AMQPValue, value: AMQPValue) {
            self.key = key
            self.value = value
        }
    }

    /// All entries in order.
    public var entries: [Entry]

    /// A map with the given entries.
    public init(_ entries: [Entry] = []) { self.entries = entries }

    /// A map written in the source text.
    public init(dictionaryLiteral elements: (AMQPValue, AMQPValue)...) {
        entries = elements.map { Entry(key: $0.0, value: $0.1) }
    }

    /// The value under a key of text, string or symbol alike; nil when there is none.
    public subscript(_ name: String) -> AMQPValue? {
        for entry in entries where entry.key.text == name { return entry.value }
        return nil
    }

    /// Appends an entry.
    public mutating func append(_ key: AMQPValue, _ value: AMQPValue) {
        entries.append(Entry(key: key, value: value))
    }
}
