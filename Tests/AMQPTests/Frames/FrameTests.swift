// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import AMQP
import NIOCore
import Testing

@Suite struct FrameTests {
    @Test func `the extended header is passed over`() throws {
        var bytes = ByteBuffer(hex: "00 00 00 0d 03 00 00 07 01 02 03 04 ff")
        let frame = try #require(try Frame.read(from: &bytes, bytesMax: 512))
        #expect(frame.channel == 7)
        #expect(frame.body.hex == "ff")
    }

    @Test func `a heartbeat is a frame without body`() throws {
        var bytes = ByteBuffer(hex: "00 00 00 08 02 00 00 00")
        #expect(try Frame.read(from: &bytes, bytesMax: 512)?.body.readableBytes == 0)
    }

    @Test func `sizes that cannot be are refused at once`() {
        for (hex, failure) in [
            ("00 00 00 07", Frame.Failure.malformed), ("ff ff ff ff", .tooLarge(.max)),
            ("00 01 00 01", .tooLarge(65_537)),
            ("00 00 00 08 01 00 00 00", .malformed), ("00 00 00 08 03 00 00 00", .malformed),
            ("00 00 00 08 02 02 00 00", .unknownType(2)),
        ] {
            var bytes = ByteBuffer(hex: hex)
            #expect(throws: failure) { try Frame.read(from: &bytes, bytesMax: 65_536) }
        }
    }

    @Test func `protocol headers are told apart from the first byte on`() {
        var sasl = ByteBuffer(hex: "41 4d 51 50 03 01 00 00 00")
        #expect(ProtocolHeader.read(from: &sasl) == .header(.sasl))
        #expect(sasl.readableBytes == 1)
        var amqp = ByteBuffer()
        ProtocolHeader.amqp.write(to: &amqp)
        for length in 0..<8 {
            var prefix = amqp.getSlice(at: 0, length: length) ?? ByteBuffer()
            #expect(ProtocolHeader.read(from: &prefix) == .incomplete)
        }
        for hex in ["47", "41 4d 51 51", "41 4d 51 50 01 01 00 00", "41 4d 51 50 00 00 09 01"] {
            var other = ByteBuffer(hex: hex)
            #expect(ProtocolHeader.read(from: &other) == .unknown)
        }
    }
}
