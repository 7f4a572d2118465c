// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import AMQP
import NIOCore

/// One encoded value in memory that nobody copies: which constructor it has and where its content lies.
struct RawValue {
    /// The constructor.
    let code: UInt8
    /// The bytes behind the constructor and the size.
    let content: UnsafeRawBufferPointer

    /// The content of a string or a symbol; nil for any other type.
    var text: UnsafeRawBufferPointer? {
        switch code {
        case 0xa1, 0xb1, 0xa3, 0xb3: content
        default: nil
        }
    }

    /// The content of a binary; nil for any other type.
    var binary: UnsafeRawBufferPointer? { code == 0xa0 || code == 0xb0 ? content : nil }

    /// Milliseconds since 1970, where it is a timestamp.
    var timestamp: Int64? { code == 0x83 ? Int64(bitPattern: bits) : nil }

    /// The content of a number, of a fixed width.
    private var bits: UInt64 { content.reduce(0) { $0 << 8 | UInt64($1) } }

    private var signedBits: Int64 {
        guard let first = content.first else { return 0 }
        return content.dropFirst().reduce(Int64(Int8(bitPattern: first))) { $0 << 8 | Int64($1) }
    }

    /// A scalar that is no text, as text: the stored form of properties is text only (docs/wire/amqp.md#telemetry).
    var printed: String? {
        switch code {
        case 0x41: "true"
        case 0x42: "false"
        case 0x56: content.first == 1 ? "true" : "false"
        case 0x43, 0x44: "0"
        case 0x50, 0x52, 0x53, 0x60, 0x70, 0x80: String(bits)
        case 0x51, 0x54, 0x55, 0x61, 0x71, 0x81, 0x83: String(signedBits)
        case 0x72: String(Float(bitPattern: UInt32(truncatingIfNeeded: bits)))
        case 0x82: String(Double(bitPattern: bits))
        case 0x73: Unicode.Scalar(UInt32(truncatingIfNeeded: bits)).map { String(Character($0)) }
        case 0x98: AMQPUUID(bytes: Array(content)).description
        case 0xa0, 0xb0, 0xa1, 0xb1, 0xa3, 0xb3: String(validating: content, as: UTF8.self)
        default: nil
        }
    }
}

/// Walks over encoded values that lie one after another, within bounds, without copying (AMQP 1.2).
struct RawReader {
    private let bytes: UnsafeRawBufferPointer
    /// Where the next value begins.
    private(set) var index: Int

    /// A reader of all of `bytes`.
    init(_ bytes: UnsafeRawBufferPointer) {
        self.bytes = bytes
        index = 0
    }

    /// Whether everything was read.
    var isAtEnd: Bool { index >= bytes.count }

    /// The code of the descriptor that comes next; nil for anything else.
    mutating func descriptor() -> UInt8? {
        guard index + 3 <= bytes.count, bytes[index] == 0 else { return nil }
        if bytes[index + 1] == 0x53 {
            defer { index += 3 }
            return bytes[index + 2]
        }
        if bytes[index + 1] == 0xa3 || bytes[index + 1] == 0xb3 { return symbolicDescriptor() }
        guard bytes[index + 1] == 0x80, index + 10 <= bytes.count,
            bytes[index + 2..<index + 9].allSatisfy({ $0 == 0 })
        else { return nil }
        defer { index += 10 }
        return bytes[index + 9]
    }

    /// A descriptor by its name, which no device is known to send but the standard allows (AMQP 1.3).
    private mutating func symbolicDescriptor() -> UInt8? {
        let start = index
        index += 1
        guard next() != nil else { return nil }
        var reader = AMQPReader(ByteBuffer(bytes: bytes[start..<index]))
        do throws(AMQPDecodeError) {
            return UInt8(exactly: try reader.readDescriptor())
        } catch {
            return nil
        }
    }

    /// The next value; nil where the bytes end within it or have no such constructor.
    ///
    /// Described values are passed over and come as null.
    mutating func next() -> RawValue? {
        guard index < bytes.count else { return nil }
        let code = bytes[index]
        if code == 0 { return passDescribed() }
        index += 1
        let size: Int
        switch code >> 4 {
        case 0x4: size = 0
        case 0x5: size = 1
        case 0x6: size = 2
        case 0x7: size = 4
        case 0x8: size = 8
        case 0x9: size = 16
        case 0xa, 0xc, 0xe:
            guard index < bytes.count else { return nil }
            size = Int(bytes[index])
            index += 1
        case 0xb, 0xd, 0xf:
            guard index + 4 <= bytes.count else { return nil }
            size = Int(UInt32(bigEndian: bytes.loadUnaligned(fromByteOffset: index, as: UInt32.self)))
            index += 4
        default: return nil
        }
        guard size <= bytes.count - index else { return nil }
        let content = UnsafeRawBufferPointer(rebasing: bytes[index..<index + size])
        index += size
        return RawValue(code: code, content: content)
    }

    private mutating func passDescribed() -> RawValue? {
        // A descriptor and a value, either of which may be described again: counted, not nested.
        var values = 0
        while index < bytes.count, bytes[index] == 0 {
            index += 1
            values += 1
        }
        for _ in 0...values where next() == nil { return nil }
        return RawValue(code: 0x40, content: UnsafeRawBufferPointer(start: nil, count: 0))
    }

    /// A reader of the entries of a map, and how many keys and values there are; nil where the value is no map.
    static func entries(of value: RawValue) -> (count: Int, reader: RawReader)? {
        switch value.code {
        case 0xc1:
            guard let count = value.content.first else { return nil }
            return (Int(count), RawReader(UnsafeRawBufferPointer(rebasing: value.content[1...])))
        case 0xd1: return wide(value)
        default: return nil
        }
    }

    /// A reader of the fields of a list, and how many there are; nil where the value is no list.
    static func fields(of value: RawValue) -> (count: Int, reader: RawReader)? {
        switch value.code {
        case 0x45: return (0, RawReader(value.content))
        case 0xc0:
            guard let count = value.content.first else { return nil }
            return (Int(count), RawReader(UnsafeRawBufferPointer(rebasing: value.content[1...])))
        case 0xd0: return wide(value)
        default: return nil
        }
    }

    private static func wide(_ value: RawValue) -> (count: Int, reader: RawReader)? {
        guard value.content.count >= 4 else { return nil }
        let count = Int(UInt32(bigEndian: value.content.loadUnaligned(as: UInt32.self)))
        return (count, RawReader(UnsafeRawBufferPointer(rebasing: value.content[4...])))
    }
}
