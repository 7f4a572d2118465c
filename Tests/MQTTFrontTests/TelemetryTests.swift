// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import Hub
import HubModel
import MQTT
import NIOCore
import NIOEmbedded
import Testing

@testable import MQTTFront

/// PUBLISH of telemetry, from the topic to the event (docs/wire/mqtt.md, statements 31 to 33 and 47 to 60).
@Suite(.timeLimit(.minutes(1))) struct TelemetryTests {
    private static let events = "devices/d1/messages/events/"

    /// Sends one message with a property bag and returns the event.
    private func event(
        _ bag: String,
        tail: String = "/?api-version=2021-04-12",
        body: String = "x"
    ) async throws -> ReceivedEvent {
        let hub = try await TestHub()
        let client = try await TestClient.signedIn(hub, tail: tail)
        try await client.publish(body, topic: Self.events + bag)
        #expect(try await client.receive() == .puback(1))
        return try #require(try hub.storedEvents().first)
    }

    @Test func `mqtt 047 every form of the telemetry topic is acknowledged and stored`() async throws {
        let hub = try await TestHub()
        for (id, root) in [("d1", "devices/d1"), ("d1/m1", "devices/d1/modules/m1")] {
            let client = try await TestClient.signedIn(hub, as: id)
            for (index, tail) in ["", "/", "/a=b", "/a=b/", "//"].enumerated() {
                let before = try hub.storedEvents().count
                try await client.publish("b\(index)", id: UInt16(index + 1), topic: root + "/messages/events" + tail)
                #expect(try await client.receive() == .puback(UInt16(index + 1)))
                let event = try #require(try hub.storedEvents().last)
                #expect(try hub.storedEvents().count == before + 1)
                #expect(event.bodyText == "b\(index)")
                #expect(event.applicationProperties == (tail.hasPrefix("/a") ? ["a": "b"] : [:]))
                #expect(event.annotations["iothub-connection-device-id"] == "d1")
                #expect(event.annotations["iothub-connection-module-id"] == (id == "d1" ? nil : "m1"))
            }
            try await client.cut()
        }
    }

    @Test func `mqtt 048 QoS 0 is stored without an answer`() async throws {
        let hub = try await TestHub()
        let client = try await TestClient.signedIn(hub)
        try await client.publish("quiet", id: 0)
        #expect(try hub.storedEvents().map(\.bodyText) == ["quiet"])
        #expect(try await client.receivedBytes().isEmpty)
    }

    @Test func `mqtt 049 system and application properties are told apart and decoded`() async throws {
        let event = try await event("%24.mid=m&%24.ct=text%2Fplain&k%20ey=v%2Bw")
        #expect(event.properties == ["message-id": "m", "content-type": "text/plain"])
        #expect(event.applicationProperties == ["k ey": "v+w"])
    }

    @Test func `mqtt 050 messages 002 system properties may be spelt with a literal dollar`() async throws {
        let event = try await event("$.mid=m&$.cid=c")
        #expect(event.properties == ["message-id": "m", "correlation-id": "c"])
        #expect(event.applicationProperties.isEmpty)
    }

    @Test(arguments: ["a=b/", "a=b"])
    func `mqtt 051 messages 004 one trailing slash is not of the bag`(_ bag: String) async throws {
        #expect(try await event(bag).applicationProperties == ["a": "b"])
    }

    @Test func `mqtt 052 properties without a value are empty and a plus is a plus`() async throws {
        let event = try await event("flag&empty=&x=1+2")
        #expect(event.applicationProperties == ["flag": "", "empty": "", "x": "1+2"])
        // Nor does it change its meaning beside what is encoded.
        #expect(try await self.event("x=1+2&y=%2B%20").applicationProperties == ["x": "1+2", "y": "+ "])
    }

    @Test(arguments: [
        ("a=1&&b=2", ["a": "1", "b": "2"]), ("a=1&a=2", ["a": "2"]), ("a=b=c", ["a": "b=c"]), ("a=%zz", ["a": "%zz"]),
        ("a=%4", ["a": "%4"]), ("a=%41%4a%4A", ["a": "AJJ"]), ("%C3%A9=%F0%9F%90%93", ["é": "🐓"]), ("é=ü", ["é": "ü"]),
        ("a=%FF", ["a": "\u{FFFD}"]), ("Case=1&case=2", ["Case": "1", "case": "2"]), ("a/b=c/d", ["a/b": "c/d"]),
        ("&", [:]), ("%26%3D=%25", ["&=": "%"]), ("a=x%00y", ["a": "x\u{0}y"]), ("=v", ["": "v"]),
    ])
    func `a bag is taken apart as the page says`(_ bag: String, _ expected: [String: String]) async throws {
        #expect(try await event(bag).applicationProperties == expected)
    }

    @Test func `every system property of a device has its place in the event`() async throws {
        let event = try await event(
            "$.mid=m&$.cid=c&$.uid=u&$.to=t&$.ct=ct&$.ce=utf-8&$.ifid=i&$.diagid=di&$.diagctx=creationtimeutc%3D1"
                + "&$.tracestate=timestamp%3D1&$.exp=2024-01-01T00:00:00.0000000Z&$.ctime=2024&$.schema=s&$.on=out1"
                + "&$.cdid=d9&$.cmid=m9&iothub-ack=full&iothub-operation=o&x=y"
        )
        #expect(
            event.properties == [
                "message-id": "m", "correlation-id": "c", "user-id": "u", "to": "t", "content-type": "ct",
                "content-encoding": "utf-8", "absolute-expiry-time": "1704067200000",
            ]
        )
        #expect(event.annotations["iothub-interface-id"] == "i")
        #expect(event.annotations["Diagnostic-Id"] == "di")
        #expect(event.annotations["Correlation-Context"] == "creationtimeutc=1")
        #expect(event.annotations["tracestate"] == "timestamp=1")
        #expect(event.annotations["iothub-connection-device-id"] == "d1")
        #expect(event.annotations["iothub-connection-module-id"] == nil)
        #expect(
            event.applicationProperties == [
                "iothub-creation-time-utc": "2024", "iothub-message-schema": "s", "iothub-outputname": "out1", "x": "y",
            ]
        )
    }

    @Test func `messages 003 messages 005 unknown system keys are left out and names keep their case`() async throws {
        let event = try await event("$.zzz=1&%24.whatever=2&$.=3&KeY=4&$a=5")
        #expect(event.applicationProperties == ["KeY": "4", "$a": "5"])
    }

    @Test func `messages 007 messages 008 a device can't say who sent its message`() async throws {
        let event = try await event(
            "iothub-connection-device-id=evil&iothub%2Dconnection-auth-method=evil&iothub-message-source=evil"
                + "&iothub-connection-module-id=evil&iothub-connection-auth-generation-id=evil&iothub-enqueuedtime=1"
        )
        #expect(event.applicationProperties.isEmpty)
        #expect(event.annotations["iothub-connection-device-id"] == "d1")
        #expect(
            event.annotations["iothub-connection-auth-method"]
                == #"{"scope":"device","type":"sas","issuer":"iothub","acceptingIpFilterRule":null}"#
        )
    }

    @Test func `a content type that is no symbol becomes one`() async throws {
        #expect(try await event("$.ct=t%C3%A9xt&$.exp=never").properties == ["content-type": "t??xt"])
    }

    @Test func `mqtt 053 messages 015 RETAIN is told to readers and nothing else`() async throws {
        let hub = try await TestHub()
        let client = try await TestClient.signedIn(hub)
        try await client.send(.telemetry(retain: true))
        #expect(try await client.receive() == .puback(1))
        #expect(try hub.storedEvents().map(\.applicationProperties) == [["mqtt-retain": "true"]])
        try await client.send(.subscribe(2, "#"))
        #expect(try await client.receive() == .suback(Suback(packetID: 2, returnCodes: [1])))
        #expect(try await client.receivedBytes().isEmpty)
    }

    @Test func `mqtt 054 a repeated PUBLISH is acknowledged and stored again`() async throws {
        let hub = try await TestHub()
        let client = try await TestClient.signedIn(hub)
        try await client.publish()
        #expect(try await client.receive() == .puback(1))
        try await client.send(.telemetry(duplicate: true))
        #expect(try await client.receive() == .puback(1))
        #expect(try hub.storedEvents().count == 2)
    }

    @Test func `mqtt 055 messages 010 262144 bytes are a message, one more closes the connection`() async throws {
        let hub = try await TestHub()
        let client = try await TestClient.signedIn(hub)
        let topic = Self.events + "$.mid=123&key=value"
        let sizeMax = 262_144 - "123".utf8.count - "key".utf8.count - "value".utf8.count
        try await client.publish(String(repeating: "x", count: sizeMax), topic: topic)
        #expect(try await client.receive() == .puback(1))
        try await client.publish(String(repeating: "x", count: sizeMax + 1), id: 2, topic: topic)
        try await client.expectClosed()
        #expect(try await client.receivedBytes().isEmpty)
        #expect(try hub.storedEvents().count == 1)
    }

    @Test func `a packet that announces too much closes the connection before it is received`() async throws {
        let hub = try await TestHub()
        let client = try await TestClient.signedIn(hub)
        try await client.send(ByteBuffer(bytes: [0x30, 0x80, 0x80, 0x15]))
        try await client.expectClosed()
    }

    @Test func `more properties than the limit close the connection`() async throws {
        var limits = MQTTFrontLimits()
        limits.propertiesPerMessageMax = 3
        let hub = try await TestHub(limits: limits)
        let client = try await TestClient.signedIn(hub)
        try await client.publish(topic: Self.events + "a&b&c")
        #expect(try await client.receive() == .puback(1))
        try await client.publish(id: 2, topic: Self.events + "a&b&c&d")
        try await client.expectClosed()
        #expect(try hub.storedEvents().count == 1)
    }

    @Test func `mqtt 056 QoS 2 closes without PUBREC, and what came before it is kept`() async throws {
        let hub = try await TestHub()
        let client = try await TestClient.signedIn(hub)
        let publish = Publish(
            topic: ByteBuffer(string: Self.events),
            payload: ByteBuffer(string: "two"),
            qos: .exactlyOnce,
            packetID: 2
        )
        try await client.send(.telemetry("one", id: 0), .publish(publish))
        try await client.expectClosed()
        #expect(try await client.receivedBytes().isEmpty)
        #expect(try hub.storedEvents().map(\.bodyText) == ["one"])
    }

    @Test(arguments: [
        "devices/d2/messages/events/", "foo/bar", "foo/+", "devices/+/messages/events/",
        "devices/d1/modules/m1/messages/events/", "$iothub/methods/POST/reboot/?$rid=1", "$iothub/methods/res/200/",
        "$iothub/twin/res/200/?$rid=1", "$iothub/twin/PATCH/properties/desired/?$version=2",
        "devices/d1/messages/devicebound/%24.to=x", "$iothub/+/GET/?$rid=1", "$iothub/credentials/res/200/?$rid=1",
        "devices/d1/../d2/messages/events/", "devices//messages/events/", "Devices/d1/messages/events/",
    ])
    func `mqtt 057 a topic that is not the client's closes the connection and stores nothing`(
        _ topic: String
    ) async throws {
        let hub = try await TestHub()
        let client = try await TestClient.signedIn(hub)
        try await client.publish(topic: topic)
        try await client.expectClosed()
        #expect(try await client.receivedBytes().isEmpty)
        #expect(hub.events.attempts == 0)
    }

    @Test func `mqtt 058 a module's output name is with its message`() async throws {
        let hub = try await TestHub()
        let client = try await TestClient.signedIn(hub, as: "d1/m1")
        try await client.publish(topic: "devices/d1/modules/m1/messages/events/%24.on=out1/")
        #expect(try await client.receive() == .puback(1))
        let event = try #require(try hub.storedEvents().first)
        #expect(event.annotations["iothub-connection-module-id"] == "m1")
        #expect(event.applicationProperties == ["iothub-outputname": "out1"])
    }

    @Test func `mqtt 059 a model and its component are with the message`() async throws {
        for tail in ["/?api-version=1&model-id=dtmi%3Acom%3Aexample%3B1", "/?model-id=dtmi:com:example;1&model-id=x"] {
            let event = try await event("%24.sub=c1", tail: tail)
            #expect(event.annotations["dt-dataschema"] == "dtmi:com:example;1")
            #expect(event.annotations["dt-subject"] == "c1")
        }
        for tail in ["/?api-version=1", "/?api-version=1&model-id="] {
            let plain = try await event("%24.sub=c1", tail: tail)
            #expect(plain.annotations["dt-dataschema"] == nil)
            #expect(plain.annotations["dt-subject"] == nil)
        }
    }

    @Test func `mqtt 060 a thousand messages in flight are acknowledged and stored in order`() async throws {
        let hub = try await TestHub()
        let client = try await TestClient.signedIn(hub)
        var bytes = ByteBuffer()
        for id in 1...1000 { try Packet.telemetry("m\(id)", id: UInt16(id)).encode(into: &bytes) }
        // Cut where no packet ends.
        while let part = bytes.readSlice(length: min(977, bytes.readableBytes)), part.readableBytes > 0 {
            try await client.send(part)
        }
        for id in 1...1000 { #expect(try await client.receive() == .puback(UInt16(id))) }
        #expect(try hub.storedEvents().map(\.bodyText) == (1...1000).map { "m\($0)" })
    }

    @Test func `an empty body and odd bytes arrive as they were sent`() async throws {
        let hub = try await TestHub()
        let client = try await TestClient.signedIn(hub)
        let odd = ByteBuffer(bytes: Array(0...255))
        for body in [ByteBuffer(), odd] {
            let publish = Publish(topic: ByteBuffer(string: Self.events), payload: body, qos: .atLeastOnce, packetID: 1)
            try await client.send(.publish(publish))
            #expect(try await client.receive() == .puback(1))
        }
        #expect(try hub.storedEvents().map(\.body) == [ByteBuffer(), odd])
    }

    // MARK: The will

    private static let will = Connect.Will(
        topic: ByteBuffer(string: "devices/d1/messages/events/a=b"),
        payload: ByteBuffer(string: "gone"),
        qos: .atLeastOnce,
        retain: true
    )

    private static let willOfD2 = Connect.Will(
        topic: ByteBuffer(string: "devices/d2/messages/events/"),
        payload: ByteBuffer(string: "d2 gone"),
        qos: .atLeastOnce,
        retain: false
    )

    @Test func `mqtt 031 a will is published when the connection is cut`() async throws {
        let hub = try await TestHub()
        let client = try await TestClient.signedIn(hub, will: Self.will)
        #expect(try hub.storedEvents().isEmpty)
        try await client.cut()
        let event = try #require(try hub.storedEvents().first)
        #expect(event.bodyText == "gone")
        #expect(event.applicationProperties == ["a": "b", "iothub-MessageType": "Will", "mqtt-retain": "true"])
        #expect(try hub.storedEvents().count == 1)
    }

    @Test func `mqtt 032 DISCONNECT discards the will`() async throws {
        let hub = try await TestHub()
        let client = try await TestClient.signedIn(hub, will: Self.will)
        try await client.send(.telemetry("last", id: 0), .disconnect)
        try await client.expectClosed()
        #expect(try hub.storedEvents().map(\.bodyText) == ["last"])
    }

    @Test func `mqtt 033 a will is published when a newer connection takes over`() async throws {
        let hub = try await TestHub()
        let first = try await TestClient.signedIn(hub, will: Self.will)
        _ = try await TestClient.signedIn(hub)
        try await first.expectClosed()
        #expect(try hub.storedEvents().map(\.bodyText) == ["gone"])
    }

    @Test(arguments: ["deleted", "disabled", "another key"])
    func `a will is not published for an identity that may no longer sign in`(_ change: String) async throws {
        let hub = try await TestHub()
        let d1 = IdentityID(device: "d1")
        let client = try await TestClient.signedIn(hub, will: Self.will)
        let other = try await TestClient.signedIn(hub, as: "d2", will: Self.willOfD2)
        switch change {
        case "deleted": try await hub.delete(d1)
        case "disabled": try await hub.setStatus(.disabled, of: d1)
        default: try await hub.changeKeys(of: d1)
        }
        try await client.expectClosed()
        try await other.cut()
        #expect(try hub.storedEvents().map(\.bodyText) == ["d2 gone"])
    }

    @Test func `a will is published when the token's time is over`() async throws {
        let hub = try await TestHub()
        let token = TestHub.token("\(TestHub.host)%2Fdevices%2Fd1", expiresIn: 100)
        let client = try await TestClient.signedIn(hub, will: Self.will, token: token)
        await client.advance(seconds: 400)
        try await client.expectClosed()
        #expect(try hub.storedEvents().map(\.bodyText) == ["gone"])
    }

    @Test func `a will to a foreign topic is ignored, and one of a refused client is never published`() async throws {
        let hub = try await TestHub()
        var will = Self.will
        will.topic = ByteBuffer(string: "devices/d2/messages/events/")
        let client = try await TestClient.signedIn(hub, will: will)
        try await client.cut()
        var connect = TestClient.connect("d1", token: "garbage")
        connect.will = Self.will
        let refused = try await TestClient.open(hub)
        try await refused.send(.connect(connect))
        #expect(try await refused.receive() == .refused(.notAuthorized))
        try await refused.expectClosed()
        #expect(hub.events.attempts == 0)
    }
}
