// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import MQTT
import NIOCore
import Testing

/// All fourteen packets, both ways, however they are cut.
@Suite struct PacketTests {
    private let limits = MQTTLimits()

    @Test(arguments: PacketFixture.all)
    func `a packet decodes from its bytes and leaves what follows`(_ fixture: PacketFixture) throws {
        var buffer = hex(fixture.wire)
        buffer.writeBytes([0xC0, 0x00])
        #expect(try Packet.decode(from: &buffer, limits: limits) == fixture.packet)
        #expect(buffer.bytes == [0xC0, 0x00])
    }

    @Test(arguments: PacketFixture.all)
    func `a packet encodes to its bytes`(_ fixture: PacketFixture) throws {
        var buffer = ByteBuffer()
        try fixture.packet.encode(into: &buffer)
        #expect(buffer.bytes == hex(fixture.wire).bytes)
    }

    @Test func `there is a fixture for every type`() {
        #expect(Set(PacketFixture.all.map(\.packet.type)) == Set(PacketType.allCases))
    }

    @Test(arguments: PacketFixture.all)
    func `every prefix of a packet is incomplete and consumes nothing`(_ fixture: PacketFixture) throws {
        let whole = hex(fixture.wire)
        for count in 0..<whole.readableBytes {
            var prefix = try #require(whole.getSlice(at: 0, length: count))
            #expect(try Packet.decode(from: &prefix, limits: limits) == nil)
            #expect(prefix.readableBytes == count)
        }
    }

    @Test func `all packets come out of a stream fed byte by byte`() throws {
        var stream = ByteBuffer()
        for fixture in PacketFixture.all { stream.writeImmutableBuffer(hex(fixture.wire)) }
        var received = ByteBuffer()
        var packets: [Packet] = []
        for byte in stream.readableBytesView {
            received.writeInteger(byte)
            while let packet = try Packet.decode(from: &received, limits: limits) { packets.append(packet) }
        }
        #expect(packets == PacketFixture.all.map(\.packet))
        #expect(received.readableBytes == 0)
    }

    @Test func `topic and payload share the storage of the read buffer`() throws {
        var buffer = hex("30 07 00 03 \"a/b\" \"hi\"")
        let header = try #require(try FixedHeader.peek(at: buffer, packetSizeMax: 100))
        let publish = try Publish.decode(header, from: &buffer)
        let base = buffer.withVeryUnsafeBytes { $0.baseAddress }
        let topic = publish.topic.withUnsafeReadableBytes { $0.baseAddress }
        let payload = publish.payload.withUnsafeReadableBytes { $0.baseAddress }
        #expect(topic == base.map { $0 + 4 })
        #expect(payload == base.map { $0 + 7 })
    }

    @Test(arguments: [0, 1, 127, 128, 16_383, 16_384, 262_144])
    func `remaining lengths survive a round trip`(_ size: Int) throws {
        let packet = Packet.publish(
            Publish(topic: ByteBuffer(string: "t"), payload: ByteBuffer(repeating: 7, count: size))
        )
        var buffer = ByteBuffer()
        try packet.encode(into: &buffer)
        #expect(try Packet.decode(from: &buffer, limits: limits) == packet)
    }

    @Test func `a remaining length in more bytes than needed is accepted`() throws {
        var buffer = hex("c0 80 80 80 00")
        #expect(try Packet.decode(from: &buffer, limits: limits) == .pingreq)
    }

    @Test func `values that must not be sent are refused`() {
        var buffer = ByteBuffer()
        let long = String(repeating: "x", count: 65_536)
        #expect(throws: MQTTError.valueTooLong) {
            try Packet.subscribe(Subscribe(packetID: 1, requests: [.init(filter: long, qos: .atMostOnce)]))
                .encode(into: &buffer)
        }
        #expect(throws: MQTTError.listEmpty) {
            try Subscribe(packetID: 1, requests: []).encode(into: &buffer)
        }
        #expect(throws: MQTTError.listEmpty) {
            try Unsubscribe(packetID: 1, filters: []).encode(into: &buffer)
        }
        #expect(throws: MQTTError.listEmpty) { try Suback(packetID: 1, returnCodes: []).encode(into: &buffer) }
        #expect(throws: MQTTError.packetIDZero) {
            try Publish(topic: ByteBuffer(string: "t"), payload: ByteBuffer(), qos: .atLeastOnce).encode(into: &buffer)
        }
        #expect(throws: MQTTError.connectFlagsInvalid) {
            try Connect(clientID: "a", password: ByteBuffer()).encode(into: &buffer)
        }
    }
}
