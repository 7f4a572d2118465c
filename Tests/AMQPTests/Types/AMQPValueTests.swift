// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import AMQP
import NIOCore
import Testing

@Suite struct AMQPValueTests {
    static let uuid = AMQPUUID(high: 0x984c_9217_e353_4d48, low: 0xa087_0555_bc31_e591)

    /// Every constructor of the standard with the value it stands for.
    static let encodings: [(hex: String, value: AMQPValue)] = [
        ("40", .null), ("41", .bool(true)), ("42", .bool(false)), ("56 01", .bool(true)), ("56 00", .bool(false)),
        ("50 ff", .ubyte(255)), ("60 1f ff", .ushort(8191)), ("70 00 01 00 00", .uint(65536)), ("52 05", .uint(5)),
        ("43", .uint(0)), ("80 00 00 00 00 00 10 00 00", .ulong(1_048_576)), ("53 07", .ulong(7)), ("44", .ulong(0)),
        ("51 80", .byte(-128)), ("61 ff fe", .short(-2)), ("71 00 00 00 c8", .int(200)), ("54 ff", .int(-1)),
        ("81 00 00 00 00 00 00 ea 60", .long(60000)), ("55 48", .long(72)), ("72 3f 80 00 00", .float(1)),
        ("82 3f f0 00 00 00 00 00 00", .double(1)), ("74 00 00 00 01", .decimal32(1)),
        ("84 00 00 00 00 00 00 00 02", .decimal64(2)),
        ("94 00 00 00 00 00 00 00 01 00 00 00 00 00 00 00 02", .decimal128(AMQPUUID(high: 1, low: 2))),
        ("73 00 01 f6 00", .char(0x1f600)), ("83 00 00 01 8b cf e5 68 00", .timestamp(1_700_000_000_000)),
        ("98 98 4c 92 17 e3 53 4d 48 a0 87 05 55 bc 31 e5 91", .uuid(uuid)),
        ("a0 02 01 02", .binary(ByteBuffer(bytes: [1, 2]))),
        ("b0 00 00 00 02 01 02", .binary(ByteBuffer(bytes: [1, 2]))),
        ("a1 03 e2 82 ac", .string("€")), ("b1 00 00 00 01 61", .string("a")), ("a3 01 61", .symbol("a")),
        ("b3 00 00 00 01 61", .symbol("a")), ("45", .list([])), ("c0 03 02 43 41", .list([.uint(0), .bool(true)])),
        ("d0 00 00 00 06 00 00 00 02 43 41", .list([.uint(0), .bool(true)])),
        ("c1 05 02 a3 01 61 40", .map([.symbol("a"): .null])),
        ("d1 00 00 00 08 00 00 00 02 a3 01 61 40", .map([.symbol("a"): .null])),
        ("e0 06 02 a1 01 30 01 31", .array([.string("0"), .string("1")])),
        ("f0 00 00 00 09 00 00 00 02 a1 01 30 01 31", .array([.string("0"), .string("1")])),
        ("e0 07 01 b3 00 00 00 01 61", .array([.symbol("a")])),
        ("00 53 24 45", .described(.ulong(0x24), .list([]))),
        ("00 a3 01 78 a1 01 79", .described(.symbol("x"), .string("y"))),
        (
            "e0 09 02 00 53 05 a1 01 61 01 62",
            .array([.described(.ulong(5), .string("a")), .described(.ulong(5), .string("b"))])
        ),
    ]

    @Test(arguments: encodings.indices)
    func `every encoding is read, skipped and incomplete in every prefix`(_ index: Int) throws {
        let (hex, value) = Self.encodings[index]
        let bytes = ByteBuffer(hex: hex)
        var reader = AMQPReader(bytes)
        #expect(try reader.readValue() == value)
        #expect(reader.isAtEnd)
        var skipper = AMQPReader(bytes)
        try skipper.skipValue()
        #expect(skipper.isAtEnd)
        for length in 0..<bytes.readableBytes {
            var short = AMQPReader(bytes.getSlice(at: 0, length: length) ?? ByteBuffer())
            #expect(throws: AMQPDecodeError.truncated) { try short.readValue() }
            var skip = AMQPReader(bytes.getSlice(at: 0, length: length) ?? ByteBuffer())
            #expect(throws: AMQPDecodeError.truncated) { try skip.skipValue() }
        }
    }

    @Test(arguments: encodings.indices, [AMQPEncoding.compact, .wide])
    func `every value survives both encodings`(_ index: Int, _ encoding: AMQPEncoding) throws {
        let value = Self.encodings[index].value
        var buffer = ByteBuffer(string: "x")
        buffer.writeAMQPValue(value, encoding)
        buffer.moveReaderIndex(forwardBy: 1)
        var reader = AMQPReader(buffer)
        #expect(try reader.readValue() == value)
        #expect(reader.isAtEnd)
    }

    @Test func `numbers at the edges take the smallest form`() {
        func hex(_ value: AMQPValue) -> String {
            var buffer = ByteBuffer()
            buffer.writeAMQPValue(value)
            return buffer.hex
        }
        #expect(hex(.uint(255)) == "52 ff")
        #expect(hex(.uint(256)) == "70 00 00 01 00")
        #expect(hex(.ulong(.max)) == "80 ff ff ff ff ff ff ff ff")
        #expect(hex(.int(127)) == "54 7f")
        #expect(hex(.int(128)) == "71 00 00 00 80")
        #expect(hex(.long(-128)) == "55 80")
        #expect(hex(.long(-129)) == "81 ff ff ff ff ff ff ff 7f")
        var digits = ByteBuffer()
        digits.writeAMQPDecimalString(0)
        digits.writeAMQPDecimalString(37344)
        digits.writeAMQPDecimalString(.max)
        #expect(digits.hex.hasPrefix("a1 01 30 a1 05 33 37 33 34 34 a1 14 31 38 34"))
    }

    @Test(arguments: [0, 1, 84, 85, 86, 127, 128, 252, 253, 254, 255, 256, 300, 70000])
    func `lists, maps and arrays of any size survive`(_ count: Int) throws {
        let items = (0..<count).map { AMQPValue.ubyte(UInt8(truncatingIfNeeded: $0)) }
        var map = AMQPMap()
        for index in 0..<count / 2 { map.append(.uint(UInt32(index)), .null) }
        for value in [.list(items), .map(map), .array(items), .array([.list(items), .list([])])] as [AMQPValue] {
            for encoding in [AMQPEncoding.compact, .wide] {
                var buffer = ByteBuffer(string: "head")
                buffer.writeAMQPValue(value, encoding)
                buffer.moveReaderIndex(forwardBy: 4)
                var reader = AMQPReader(buffer, depthMax: 8, elementsMax: 200_000)
                #expect(try reader.readValue() == value)
                #expect(reader.isAtEnd)
            }
        }
    }

    @Test func `nesting beyond the bound is refused, whatever nests`() {
        let described = ByteBuffer(repeating: 0, count: 100_000)
        var list = ByteBuffer()
        for _ in 0..<200 { list.writeImmutableBuffer(ByteBuffer(bytes: [0xd0, 0, 0, 0xff, 0xff, 0, 0, 0, 1])) }
        list.writeRepeatingByte(0x40, count: 70_000)
        for bytes in [described, list] {
            var reader = AMQPReader(bytes)
            #expect(throws: AMQPDecodeError.tooDeep) { try reader.readValue() }
        }
        var skipper = AMQPReader(described)
        #expect(throws: AMQPDecodeError.tooDeep) { try skipper.skipValue() }
    }

    @Test(arguments: [
        "f0 00 00 00 05 ff ff ff ff 40", "f0 00 00 00 05 00 02 00 00 45", "d0 00 00 00 05 ff ff ff ff 40",
        "c0 02 05 40", "c0 03 01 40 40", "c1 02 01 40", "e0 03 01 a1 05", "e0 00 00", "c0 00",
        "d0 00 00 00 03 00 00 00 00",
        "c0 03 01 a1 05 61 61 61 61 61", "56 02", "a1 01 ff", "a3 01 80", "99", "e0 05 01 00 53 05 00",
    ])
    func `sizes and counts that lie are refused`(_ hex: String) {
        var reader = AMQPReader(ByteBuffer(hex: hex))
        #expect(throws: AMQPDecodeError.self) { try reader.readValue() }
    }

    @Test func `typed readers take null, every encoding of their type and nothing else`() throws {
        var reader = AMQPReader(ByteBuffer(hex: "40 43 52 01 70 00 00 00 02 53 01"))
        #expect(try reader.readUInt() == nil)
        #expect(try reader.readUInt() == 0)
        #expect(try reader.readUInt() == 1)
        #expect(try reader.readUInt() == 2)
        #expect(throws: AMQPDecodeError.unexpectedType(0x53)) { try reader.readUInt() }
        var bools = AMQPReader(ByteBuffer(hex: "41 42 56 01 56 00 40"))
        #expect(
            try [bools.readBool(), bools.readBool(), bools.readBool(), bools.readBool()] == [true, false, true, false]
        )
        #expect(try bools.readBool() == nil)
        var symbolic = AMQPReader(ByteBuffer(hex: "00 a3 12"))
        #expect(throws: AMQPDecodeError.truncated) { try symbolic.readDescriptor() }
        var buffer = ByteBuffer()
        buffer.writeInteger(UInt8(0))
        buffer.writeAMQPSymbol("amqp:accepted:list")
        var named = AMQPReader(buffer)
        #expect(try named.readDescriptor() == 0x24)
    }

    @Test func `a uuid is printed in lower case`() {
        #expect(Self.uuid.description == "984c9217-e353-4d48-a087-0555bc31e591")
    }
}
