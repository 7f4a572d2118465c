// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import MQTT
import Testing

/// Bytes that are not a packet, and why.
struct MalformedFixture: Sendable, CustomTestStringConvertible {
    var name: String
    var wire: String
    var error: MQTTError

    init(_ name: String, _ wire: String, _ error: MQTTError) {
        self.name = name
        self.wire = wire
        self.error = error
    }

    var testDescription: String { name }

    static let all: [MalformedFixture] = [
        // The fixed header.
        .init("type 0", "00 00", .packetTypeReserved),
        .init("type 15", "f0 00", .packetTypeReserved),
        .init("remaining length of five bytes", "30 80 80 80 80 01", .remainingLengthMalformed),
        .init("four continuation bits are enough to know", "30 ff ff ff ff", .remainingLengthMalformed),
        .init("a packet over the limit, known from its header", "30 ff ff 7f", .packetTooLarge),
        .init("CONNECT flags", "11 00", .flagsReserved),
        .init("PUBACK flags", "42 02 00 01", .flagsReserved),
        .init("PUBREL flags 0", "60 02 00 01", .flagsReserved),
        .init("SUBSCRIBE flags 0", "80 06 00 01 00 01 61 00", .flagsReserved),
        .init("UNSUBSCRIBE flags 3", "a3 05 00 01 00 01 61", .flagsReserved),
        .init("PINGREQ flags", "c1 00", .flagsReserved),
        .init("DISCONNECT flags", "e2 00", .flagsReserved),
        // PUBLISH.
        .init("QoS 3", "36 05 00 01 61 00 01", .qosInvalid),
        .init("DUP at QoS 0", "38 03 00 01 61", .duplicateAtMostOnce),
        .init("PUBLISH without a topic length", "30 01 00", .fieldTruncated),
        .init("PUBLISH topic longer than the packet", "30 03 00 02 61", .fieldTruncated),
        .init("a topic length that reaches into the next packet", "30 03 00 02 61 30 03", .fieldTruncated),
        .init("PUBLISH QoS 1 without a packet id", "32 04 00 01 61 00", .fieldTruncated),
        .init("PUBLISH QoS 1 with packet id 0", "32 05 00 01 61 00 00", .packetIDZero),
        .init("PUBLISH with an empty topic", "30 02 00 00", .topicNameInvalid),
        .init("PUBLISH with +", "30 05 00 03 \"a/+\"", .topicNameInvalid),
        .init("PUBLISH with # after eight bytes", "30 0e 00 0c \"12345678901#\"", .topicNameInvalid),
        .init("PUBLISH with U+0000", "30 05 00 03 61 00 62", .stringInvalid),
        .init("PUBLISH with U+0000 in a run of eight", "30 0b 00 09 \"12345\" 00 \"789\"", .stringInvalid),
        .init("PUBLISH with a surrogate", "30 05 00 03 ed a0 80", .stringInvalid),
        .init("PUBLISH with an overlong form", "30 04 00 02 c0 af", .stringInvalid),
        .init("PUBLISH with a cut sequence", "30 04 00 02 61 c3", .stringInvalid),
        // Acknowledgements.
        .init("PUBACK with packet id 0", "40 02 00 00", .packetIDZero),
        .init("PUBACK without a packet id", "40 00", .fieldTruncated),
        .init("PUBACK of three bytes", "40 03 00 01 00", .trailingBytes),
        .init("PUBREC of one byte", "50 01 00", .fieldTruncated),
        .init("PUBCOMP with packet id 0", "70 02 00 00", .packetIDZero),
        .init("UNSUBACK with packet id 0", "b0 02 00 00", .packetIDZero),
        .init("PINGREQ with a body", "c0 01 00", .trailingBytes),
        .init("PINGRESP with a body", "d0 01 00", .trailingBytes),
        .init("DISCONNECT with a body", "e0 01 00", .trailingBytes),
        // CONNECT.
        .init("MQTT 3.1", "10 0f 00 06 \"MQIsdp\" 03 02 00 3c 00 01 61", .protocolLevelUnacceptable),
        .init("MQTT 5", "10 0e 00 04 \"MQTT\" 05 02 00 3c 00 00 01 61", .protocolLevelUnacceptable),
        .init("level 0x84", "10 0d 00 04 \"MQTT\" 84 02 00 3c 00 01 61", .protocolLevelUnacceptable),
        .init("another protocol", "10 0d 00 04 \"mqtt\" 04 02 00 3c 00 01 61", .protocolNameInvalid),
        .init("the reserved connect flag", "10 0d 00 04 \"MQTT\" 04 03 00 3c 00 01 61", .connectFlagsInvalid),
        .init("will QoS without a will", "10 0d 00 04 \"MQTT\" 04 0a 00 3c 00 01 61", .connectFlagsInvalid),
        .init("will retain without a will", "10 0d 00 04 \"MQTT\" 04 22 00 3c 00 01 61", .connectFlagsInvalid),
        .init("will QoS 3", "10 12 00 04 \"MQTT\" 04 1e 00 3c 00 01 61 00 01 74 00 00", .connectFlagsInvalid),
        .init(
            "a password without a user name",
            "10 10 00 04 \"MQTT\" 04 42 00 3c 00 01 61 00 01 70",
            .connectFlagsInvalid
        ),
        .init("a client id with U+0000", "10 0d 00 04 \"MQTT\" 04 02 00 3c 00 01 00", .stringInvalid),
        .init("a client id longer than the packet", "10 0d 00 04 \"MQTT\" 04 02 00 3c 00 02 61", .fieldTruncated),
        .init("an empty will topic", "10 11 00 04 \"MQTT\" 04 06 00 3c 00 01 61 00 00 00 00", .topicNameInvalid),
        .init(
            "a will topic with a wildcard",
            "10 12 00 04 \"MQTT\" 04 06 00 3c 00 01 61 00 01 23 00 00",
            .topicNameInvalid
        ),
        .init("a user name flag without a user name", "10 0d 00 04 \"MQTT\" 04 82 00 3c 00 01 61", .fieldTruncated),
        .init("a user name that is not UTF-8", "10 10 00 04 \"MQTT\" 04 82 00 3c 00 01 61 00 01 ff", .stringInvalid),
        .init("bytes after the last field", "10 0e 00 04 \"MQTT\" 04 02 00 3c 00 01 61 00", .trailingBytes),
        .init("CONNECT that ends in its flags", "10 08 00 04 \"MQTT\" 04 02", .fieldTruncated),
        // CONNACK.
        .init("reserved CONNACK flags", "20 02 02 00", .returnCodeInvalid),
        .init("an unknown return code", "20 02 00 06", .returnCodeInvalid),
        .init("session present on a refusal", "20 02 01 05", .returnCodeInvalid),
        .init("CONNACK of one byte", "20 01 00", .fieldTruncated),
        .init("CONNACK of three bytes", "20 03 00 00 00", .trailingBytes),
        // SUBSCRIBE and its kin.
        .init("SUBSCRIBE without a filter", "82 02 00 01", .listEmpty),
        .init("SUBSCRIBE with packet id 0", "82 06 00 00 00 01 61 00", .packetIDZero),
        .init("SUBSCRIBE QoS 3", "82 06 00 01 00 01 61 03", .qosInvalid),
        .init("SUBSCRIBE with reserved QoS bits", "82 06 00 01 00 01 61 81", .qosInvalid),
        .init("SUBSCRIBE without a QoS", "82 05 00 01 00 01 61", .fieldTruncated),
        .init("SUBSCRIBE to an empty filter", "82 05 00 01 00 00 00", .topicFilterInvalid),
        .init("SUBSCRIBE to a#", "82 07 00 01 00 02 \"a#\" 00", .topicFilterInvalid),
        .init("SUBSCRIBE to U+0000", "82 06 00 01 00 01 00 00", .stringInvalid),
        .init("UNSUBSCRIBE without a filter", "a2 02 00 01", .listEmpty),
        .init("UNSUBSCRIBE of #/a", "a2 07 00 01 00 03 \"#/a\"", .topicFilterInvalid),
        .init("SUBACK without a return code", "90 02 00 01", .listEmpty),
        .init("SUBACK 3", "90 03 00 01 03", .returnCodeInvalid),
    ]
}

@Suite struct MalformedPacketTests {
    @Test(arguments: MalformedFixture.all)
    func `malformed bytes are named`(_ fixture: MalformedFixture) {
        var buffer = hex(fixture.wire)
        #expect(throws: fixture.error) { try Packet.decode(from: &buffer, limits: MQTTLimits()) }
    }

    @Test func `more filters than the limit are refused`() {
        var limits = MQTTLimits()
        limits.filtersPerPacketMax = 2
        var subscribe = hex("82 0e 00 01 00 01 61 00 00 01 62 00 00 01 63 00")
        #expect(throws: MQTTError.listTooLong) { try Packet.decode(from: &subscribe, limits: limits) }
        var unsubscribe = hex("a2 0b 00 01 00 01 61 00 01 62 00 01 63")
        #expect(throws: MQTTError.listTooLong) { try Packet.decode(from: &unsubscribe, limits: limits) }
    }

    @Test func `the size limit counts the whole packet`() throws {
        let wire = hex("30 05 00 01 61 62 63")
        #expect(try FixedHeader.peek(at: wire, packetSizeMax: 7)?.packetSize == 7)
        #expect(throws: MQTTError.packetTooLarge) { try FixedHeader.peek(at: wire, packetSizeMax: 6) }
    }

    @Test func `no mutation of a packet traps`() {
        var generator = SeededGenerator(seed: 17)
        for fixture in PacketFixture.all {
            let whole = hex(fixture.wire).bytes
            for _ in 0..<200 {
                var bytes = whole
                for _ in 0..<Int.random(in: 1...3, using: &generator) {
                    bytes[Int.random(in: 0..<bytes.count, using: &generator)] = UInt8.random(
                        in: 0...255,
                        using: &generator
                    )
                }
                exerciseMQTT(bytes)
            }
        }
    }
}
