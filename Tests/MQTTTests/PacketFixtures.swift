// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import MQTT
import NIOCore
import Testing

/// A packet and its one canonical form on the wire.
struct PacketFixture: Sendable, CustomTestStringConvertible {
    var name: String
    var wire: String
    var packet: Packet

    var testDescription: String { name }

    /// What clients and the server send (docs/wire/mqtt.md 17.6), and each packet at its edges.
    static let all: [PacketFixture] = connects + publishes + subscriptions + small

    static let connects: [PacketFixture] = [
        PacketFixture(
            name: "CONNECT of an X.509 device",
            wire: """
                10 2f  00 04 "MQTT" 04 80 00 f0   ; level 4, user name only, keep alive 240
                00 02 "d1"  00 1f "h.io/d1/?api-version=2021-04-12"
                """,
            packet: .connect(
                Connect(
                    clientID: "d1",
                    cleanSession: false,
                    keepAliveSeconds: 240,
                    username: "h.io/d1/?api-version=2021-04-12"
                )
            )
        ),
        PacketFixture(
            name: "CONNECT of a SAS device",
            wire: """
                10 24  00 04 "MQTT" 04 c0 00 3c   ; user name and password, keep alive 60
                00 02 "d1"  00 07 "h.io/d1"  00 0b "SharedAcces"
                """,
            packet: .connect(
                Connect(
                    clientID: "d1",
                    cleanSession: false,
                    username: "h.io/d1",
                    password: ByteBuffer(string: "SharedAcces")
                )
            )
        ),
        PacketFixture(
            name: "CONNECT with a will",
            wire: """
                10 18  00 04 "MQTT" 04 2e 00 00   ; clean session, will at QoS 1, retained
                00 01 "a"  00 03 "w/t"  00 04 00 01 02 ff
                """,
            packet: .connect(
                Connect(
                    clientID: "a",
                    keepAliveSeconds: 0,
                    will: Connect.Will(
                        topic: ByteBuffer(string: "w/t"),
                        payload: ByteBuffer(bytes: [0, 1, 2, 0xFF]),
                        qos: .atLeastOnce,
                        retain: true
                    )
                )
            )
        ),
        PacketFixture(
            name: "CONNECT without a client id",
            wire: "10 0c  00 04 \"MQTT\" 04 02 ff ff  00 00",
            packet: .connect(Connect(clientID: "", keepAliveSeconds: 65535))
        ),
        PacketFixture(
            name: "CONNACK of a kept session",
            wire: "20 02 01 00",
            packet: .connack(Connack(sessionPresent: true, returnCode: .accepted))
        ),
        PacketFixture(
            name: "CONNACK of a clean session",
            wire: "20 02 00 00",
            packet: .connack(Connack(sessionPresent: false, returnCode: .accepted))
        ),
        PacketFixture(
            name: "CONNACK not authorised",
            wire: "20 02 00 05",
            packet: .connack(Connack(sessionPresent: true, returnCode: .notAuthorized))
        ),
    ]

    static let publishes: [PacketFixture] = [
        PacketFixture(
            name: "twin GET",
            wire: "30 1a 00 18 \"$iothub/twin/GET/?$rid=3\"",
            packet: .publish(Publish(topic: ByteBuffer(string: "$iothub/twin/GET/?$rid=3"), payload: ByteBuffer()))
        ),
        PacketFixture(
            name: "twin response",
            wire: """
                30 52 00 1c "$iothub/twin/res/200/?$rid=3"
                "{" 22 "desired" 22 ":{" 22 "$version" 22 ":1}," 22 "reported" 22 ":{" 22 "$version" 22 ":1}}"
                """,
            packet: .publish(
                Publish(
                    topic: ByteBuffer(string: "$iothub/twin/res/200/?$rid=3"),
                    payload: ByteBuffer(string: #"{"desired":{"$version":1},"reported":{"$version":1}}"#)
                )
            )
        ),
        PacketFixture(
            name: "telemetry at QoS 1",
            wire: """
                32 42 00 3c "devices/d1/messages/events/%24.mid=a&%24.ct=text%2Fplain&k=v" 00 04 "hi"
                """,
            packet: .publish(
                Publish(
                    topic: ByteBuffer(string: "devices/d1/messages/events/%24.mid=a&%24.ct=text%2Fplain&k=v"),
                    payload: ByteBuffer(string: "hi"),
                    qos: .atLeastOnce,
                    packetID: 4
                )
            )
        ),
        PacketFixture(
            name: "C2D at QoS 1",
            wire: """
                32 64 00 5e
                "devices/d1/messages/devicebound/%24.mid=m1&%24.to=%2Fdevices%2Fd1%2Fmessages%2FdeviceBound&k=v"
                00 01 "yo"
                """,
            packet: .publish(
                Publish(
                    topic: ByteBuffer(
                        string: "devices/d1/messages/devicebound/"
                            + "%24.mid=m1&%24.to=%2Fdevices%2Fd1%2Fmessages%2FdeviceBound&k=v"
                    ),
                    payload: ByteBuffer(string: "yo"),
                    qos: .atLeastOnce,
                    packetID: 1
                )
            )
        ),
        PacketFixture(
            name: "PUBLISH with all flags, QoS 2, non-ASCII topic",
            wire: "3d 0a 00 05 \"é/xx\" ff ff 00",
            packet: .publish(
                Publish(
                    topic: ByteBuffer(string: "é/xx"),
                    payload: ByteBuffer(bytes: [0]),
                    qos: .exactlyOnce,
                    packetID: 65535,
                    retain: true,
                    duplicate: true
                )
            )
        ),
        PacketFixture(
            name: "PUBLISH with a remaining length of two bytes",
            wire: "30 80 01 00 01 \"t\" " + Array(repeating: "00", count: 125).joined(separator: " "),
            packet: .publish(
                Publish(topic: ByteBuffer(string: "t"), payload: ByteBuffer(repeating: 0, count: 125))
            )
        ),
    ]

    static let subscriptions: [PacketFixture] = [
        PacketFixture(
            name: "SUBSCRIBE to twin responses",
            wire: "82 17 00 02 00 12 \"$iothub/twin/res/#\" 00",
            packet: .subscribe(
                Subscribe(packetID: 2, requests: [.init(filter: "$iothub/twin/res/#", qos: .atMostOnce)])
            )
        ),
        PacketFixture(
            name: "SUBSCRIBE with two filters",
            wire: "82 0c 01 00 00 01 \"#\" 01  00 03 \"a/+\" 02",
            packet: .subscribe(
                Subscribe(
                    packetID: 256,
                    requests: [.init(filter: "#", qos: .atLeastOnce), .init(filter: "a/+", qos: .exactlyOnce)]
                )
            )
        ),
        PacketFixture(
            name: "SUBACK",
            wire: "90 06 00 02 00 01 02 80",
            packet: .suback(Suback(packetID: 2, returnCodes: [0, 1, 2, Suback.failure]))
        ),
        PacketFixture(
            name: "UNSUBSCRIBE",
            wire: "a2 08 00 03 00 01 \"#\" 00 01 \"a\"",
            packet: .unsubscribe(Unsubscribe(packetID: 3, filters: ["#", "a"]))
        ),
        PacketFixture(name: "UNSUBACK", wire: "b0 02 00 03", packet: .unsuback(Unsuback(packetID: 3))),
    ]

    static let small: [PacketFixture] = [
        PacketFixture(name: "PUBACK", wire: "40 02 00 04", packet: .puback(Puback(packetID: 4))),
        PacketFixture(name: "PUBREC", wire: "50 02 ff ff", packet: .pubrec(Pubrec(packetID: 65535))),
        PacketFixture(name: "PUBREL", wire: "62 02 00 01", packet: .pubrel(Pubrel(packetID: 1))),
        PacketFixture(name: "PUBCOMP", wire: "70 02 00 01", packet: .pubcomp(Pubcomp(packetID: 1))),
        PacketFixture(name: "PINGREQ", wire: "c0 00", packet: .pingreq),
        PacketFixture(name: "PINGRESP", wire: "d0 00", packet: .pingresp),
        PacketFixture(name: "DISCONNECT", wire: "e0 00", packet: .disconnect),
    ]
}
