// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import AMQP
import NIOCore
import Testing

/// Every type within every compound, in every encoding.
@Suite struct AMQPCompoundTests {
    /// Values of each type that stand at the edges of its forms.
    static let values: [[AMQPValue]] = [
        [.null, .null], [.bool(true), .bool(false)], [.ubyte(0), .ubyte(255)], [.ushort(0), .ushort(.max)],
        [.uint(0), .uint(255), .uint(256), .uint(.max)], [.ulong(0), .ulong(255), .ulong(256), .ulong(.max)],
        [.byte(-128), .byte(127)], [.short(.min), .short(.max)], [.int(-128), .int(127), .int(128), .int(.min)],
        [.long(-128), .long(127), .long(-129), .long(.max)], [.float(0), .float(-.infinity), .float(1.5)],
        [.double(0), .double(.greatestFiniteMagnitude)], [.decimal32(0), .decimal32(.max)],
        [.decimal64(0), .decimal64(.max)], [.decimal128(AMQPUUID(high: .max, low: 1))],
        [.char(0), .char(0x10ffff)], [.timestamp(.min), .timestamp(.max)], [.uuid(AMQPUUID(high: 1, low: .max))],
        [.binary(ByteBuffer()), .binary(ByteBuffer(repeating: 1, count: 255))],
        [.binary(ByteBuffer(repeating: 2, count: 256)), .binary(ByteBuffer())],
        [.string(""), .string(String(repeating: "ü", count: 127))], [.string(String(repeating: "ü", count: 128))],
        [.symbol(""), .symbol(String(repeating: "s", count: 255))], [.symbol(String(repeating: "s", count: 256))],
        [.list([]), .list([.uint(1), .null])], [.map([:]), .map([.symbol("k"): .list([.bool(true)])])],
        [.array([.uint(1)]), .array([.string("x"), .string("y")])],
        [.described(.ulong(0x77), .string("v")), .described(.ulong(0x77), .string("w"))],
    ]

    private func check(_ value: AMQPValue, _ encoding: AMQPEncoding) throws {
        var buffer = ByteBuffer()
        buffer.writeAMQPValue(value, encoding)
        var reader = AMQPReader(buffer)
        #expect(try reader.readValue() == value)
        #expect(reader.isAtEnd)
        var skipper = AMQPReader(buffer)
        try skipper.skipValue()
        #expect(skipper.isAtEnd)
        // No prefix is a value, and none is read beyond its end.
        for length in stride(from: 0, to: buffer.readableBytes, by: max(1, buffer.readableBytes / 50)) {
            var short = AMQPReader(buffer.getSlice(at: 0, length: length) ?? ByteBuffer())
            #expect(throws: AMQPDecodeError.self) { try short.readValue() }
        }
    }

    @Test(arguments: values.indices, [AMQPEncoding.compact, .wide])
    func `every type survives in lists, maps, arrays and descriptions`(_ index: Int, _ encoding: AMQPEncoding) throws {
        let values = Self.values[index]
        try check(.list(values), encoding)
        try check(.list(values + [.list(values)]), encoding)
        var map = AMQPMap()
        for (number, value) in values.enumerated() { map.append(.uint(UInt32(number)), value) }
        try check(.map(map), encoding)
        try check(.array(values), encoding)
        try check(.described(.symbol("d"), .list(values)), encoding)
        try check(.described(values[0], .described(.ulong(1), values[0])), encoding)
    }

    /// Sizes and counts that lie, in every compound: an error, and never a read beyond the end.
    @Test(arguments: [
        "c0 00 00", "c0 01 01", "c0 02 03 43 43", "c0 04 02 43 43 43", "c0 ff 02 43 43", "d0 00 00 00 03 00 00 00 00",
        "d0 ff ff ff ff 00 00 00 01 43", "d0 00 00 00 05 ff ff ff ff 43", "c1 03 03 43 43 43", "c1 02 01 43",
        "d1 00 00 00 05 00 00 00 02 43", "d1 7f ff ff ff 00 00 00 02 43 43", "e0 03 01 a1 05",
        "e0 06 02 a1 04 61 62 63", "f0 00 00 00 04 00 00 00 01", "f0 00 00 00 05 ff ff ff ff 40", "e0 05 01 00 53 05",
        "e0 04 02 00 00 00 00", "a0 05 01", "b0 ff ff ff ff 01", "a1 02 c3 28", "a3 01 e4", "b1 80 00 00 00", "00",
        "00 40",
        "56 02", "3f", "ff", "57 00",
    ]) func `what lies about itself is an error`(_ hex: String) {
        let bytes = ByteBuffer(hex: hex)
        var reader = AMQPReader(bytes)
        #expect(throws: AMQPDecodeError.self, "\(hex)") {
            _ = try reader.readValue()
            // A described null and the like may be whole; then it must have been all there was.
            guard reader.isAtEnd else { throw AMQPDecodeError.truncated }
        }
    }
}
