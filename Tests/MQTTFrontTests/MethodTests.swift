// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import Hub
import HubModel
import MQTT
import NIOCore
import Testing

@testable import MQTTFront

/// Direct methods over MQTT (docs/wire/mqtt.md#methods, statements 71 to 78).
@Suite(.timeLimit(.minutes(1))) struct MethodTests {
    private static let calls = "$iothub/methods/POST/#"
    private let d1 = IdentityID(device: "d1")

    private func client(_ hub: TestHub, as id: String = "d1", filter: String = calls) async throws -> TestClient {
        let client = try await TestClient.signedIn(hub, as: id)
        try await client.send(.subscribe(60_000, filter))
        #expect(try await client.receive() == .suback(Suback(packetID: 60_000, returnCodes: [1])))
        return client
    }

    /// Calls a method in the background.
    private func call(
        _ hub: TestHub,
        _ name: String = "reboot",
        _ payload: String = "",
        of id: IdentityID = IdentityID(device: "d1")
    ) -> Task<MethodResult, any Error> {
        let request = MethodRequest(name: name, payload: ByteBuffer(string: payload), responseTimeoutSeconds: 5)
        return Task { try await hub.hub.methods.invoke(id, request) }
    }

    /// The next call that the client is sent: its topic up to the request id, that id, and its body.
    private func next(_ client: TestClient) async throws -> (topic: String, rid: String, body: String) {
        let publish = try await client.receivePublish()
        #expect(publish.qos == .atMostOnce && !publish.retain && !publish.duplicate)
        let topic = String(buffer: publish.topic)
        let mark = try #require(topic.lastIndex(of: "?"))
        let query = topic[mark...]
        try #require(query.hasPrefix("?$rid="))
        return (String(topic[..<mark]), String(query.dropFirst(6)), String(buffer: publish.payload))
    }

    private func answer(_ rid: String, _ status: String = "200", _ body: String = "", id: UInt16 = 0) -> Packet {
        .telemetry(body, id: id, topic: "$iothub/methods/res/\(status)/?$rid=\(rid)")
    }

    @Test func `mqtt 071 a call is a PUBLISH at QoS 0 whose request id is lower-case hexadecimal`() async throws {
        let hub = try await TestHub()
        let client = try await self.client(hub)
        var rids: Set<String> = []
        for _ in 0..<20 {
            let task = self.call(hub, "reboot", #"{"a":1}"#)
            let call = try await self.next(client)
            #expect(call.topic == "$iothub/methods/POST/reboot/")
            #expect(call.body == #"{"a":1}"#)
            #expect(!call.rid.isEmpty && call.rid.allSatisfy { "0123456789abcdef".contains($0) })
            rids.insert(call.rid)
            try await client.send(self.answer(call.rid))
            _ = try await task.value
        }
        #expect(rids.count == 20)
    }

    @Test func `mqtt 072 mqtt 073 an answer at either QoS passes on status and body as they are`() async throws {
        let hub = try await TestHub()
        let client = try await self.client(hub)
        for (status, body, packetID) in [
            (200, #"{"ok":true}"#, UInt16(0)), (499, "null", 7), (-1, "", 8), (Int(Int32.max), "[1, 2.50]", 0),
        ] {
            let task = self.call(hub)
            let rid = try await self.next(client).rid
            try await client.send(self.answer(rid, "\(status)", body, id: packetID))
            if packetID != 0 { #expect(try await client.receive() == .puback(packetID)) }
            let result = try await task.value
            #expect(result.status == Int32(status))
            #expect(String(buffer: result.payload) == body)
        }
    }

    @Test func `the SDK for Node may put more behind the request id, in upper case too`() async throws {
        let hub = try await TestHub()
        let client = try await self.client(hub)
        let task = self.call(hub)
        let rid = try await self.next(client).rid
        let topic = "$iothub/methods/res/200/?$rid=\(rid.uppercased())&key=value"
        try await client.send(.telemetry("{}", id: 0, topic: topic))
        #expect(try await task.value.status == 200)
    }

    @Test func `mqtt 074 a call without a payload has an empty body, null is four bytes`() async throws {
        let hub = try await TestHub()
        let client = try await self.client(hub)
        for payload in ["", "null", "1", #""text""#] {
            let task = self.call(hub, "m", payload)
            let call = try await self.next(client)
            #expect(call.body == payload)
            try await client.send(self.answer(call.rid))
            _ = try await task.value
        }
    }

    @Test(arguments: [
        "$iothub/methods/res/200/?$rid=ffff", "$iothub/methods/res/200/?$rid=", "$iothub/methods/res/200/?$rid=xyz",
        "$iothub/methods/res/200/?$rid=fffffffffffffffffffff", "$iothub/methods/res/ok/?$rid={rid}",
        "$iothub/methods/res/99999999999/?$rid={rid}", "$iothub/methods/res//?$rid={rid}",
    ])
    func `mqtt 075 an answer to nothing is acknowledged and ignored`(_ topic: String) async throws {
        let hub = try await TestHub()
        let client = try await self.client(hub)
        let task = self.call(hub)
        let rid = try await self.next(client).rid
        try await client.send(.telemetry("{}", id: 5, topic: topic.replacing("{rid}", with: rid)))
        #expect(try await client.receive() == .puback(5))
        // The call still waits for its answer, and takes one only.
        try await client.send(self.answer(rid, "201"), self.answer(rid, "202", id: 6))
        #expect(try await client.receive() == .puback(6))
        #expect(try await task.value.status == 201)
        try await client.send(.pingreq)
        #expect(try await client.receive() == .pingresp)
    }

    @Test func `mqtt 075 a device does not answer for another`() async throws {
        let hub = try await TestHub()
        let client = try await self.client(hub)
        let other = try await self.client(hub, as: "d2")
        let module = try await self.client(hub, as: "d1/m1")
        let task = self.call(hub)
        let rid = try await self.next(client).rid
        for stranger in [other, module] {
            try await stranger.send(self.answer(rid, "666", id: 1))
            #expect(try await stranger.receive() == .puback(1))
        }
        try await client.send(self.answer(rid, "200"))
        #expect(try await task.value.status == 200)
    }

    @Test func `mqtt 076 a device that is away or holds no filter is not online`() async throws {
        let hub = try await TestHub()
        await #expect { try await self.call(hub).value } throws: { ($0 as? HubError)?.code == .deviceNotOnline }
        let client = try await TestClient.signedIn(hub)
        await #expect { try await self.call(hub).value } throws: { ($0 as? HubError)?.code == .deviceNotOnline }
        try await client.send(.subscribe(1, Self.calls))
        _ = try await client.receive()
        let task = self.call(hub)
        let rid = try await self.next(client).rid
        try await client.send(self.answer(rid))
        _ = try await task.value
        try await client.send(.unsubscribe(Unsubscribe(packetID: 2, filters: [Self.calls])))
        #expect(try await client.receive() == .unsuback(Unsuback(packetID: 2)))
        await #expect { try await self.call(hub).value } throws: { ($0 as? HubError)?.code == .deviceNotOnline }
    }

    @Test func `mqtt 077 no answer in time is a gateway time-out, a lost connection is told at once`() async throws {
        let hub = try await TestHub()
        let client = try await self.client(hub)
        let late = self.call(hub)
        let rid = try await self.next(client).rid
        await client.advance(seconds: 6)
        await #expect { try await late.value } throws: { ($0 as? HubError)?.code == .gatewayTimeout }
        try await client.send(self.answer(rid, id: 3))
        #expect(try await client.receive() == .puback(3))
        let lost = self.call(hub)
        _ = try await self.next(client)
        try await client.cut()
        await #expect { try await lost.value } throws: {
            ($0 as? HubError)?.code == .deviceConnectionClosedRemotely
        }
    }

    @Test func `mqtt 078 a module is called on its own connection with the same topics`() async throws {
        let hub = try await TestHub()
        let device = try await self.client(hub)
        let module = try await self.client(hub, as: "d1/m1")
        let task = self.call(hub, "reboot", #"{"a":1}"#, of: IdentityID(device: "d1", module: "m1"))
        let call = try await self.next(module)
        #expect(call.topic == "$iothub/methods/POST/reboot/")
        #expect(try await device.receivedBytes().isEmpty)
        try await module.send(self.answer(call.rid, "202"))
        #expect(try await task.value.status == 202)
    }

    @Test func `mqtt 044 calls come by a stored filter without a new SUBSCRIBE`() async throws {
        let hub = try await TestHub()
        try await self.client(hub).cut()
        let second = try await TestClient.signedIn(hub)
        let task = self.call(hub)
        let rid = try await self.next(second).rid
        try await second.send(self.answer(rid))
        #expect(try await task.value.status == 200)
    }

    @Test func `one method may be subscribed to by its name`() async throws {
        let hub = try await TestHub()
        let client = try await self.client(hub, filter: "$iothub/methods/POST/reboot/#")
        let task = self.call(hub)
        let rid = try await self.next(client).rid
        try await client.send(self.answer(rid))
        #expect(try await task.value.status == 200)
    }

    @Test func `names go out as they are`() async throws {
        let hub = try await TestHub()
        let client = try await self.client(hub)
        for name in ["a b", "100%", "ünï", "x%2Fy", "$weird", "a&b=c"] {
            let task = self.call(hub, name)
            let call = try await self.next(client)
            #expect(call.topic == "$iothub/methods/POST/\(name)/")
            try await client.send(self.answer(call.rid))
            _ = try await task.value
        }
    }

    @Test func `PUBACKs of telemetry, reports and answers leave in the order of arrival, 1,000 in flight`() async throws
    {
        let hub = try await TestHub()
        let client = try await self.client(hub)
        try await client.send(.subscribe(60_001, "$iothub/twin/res/#"))
        _ = try await client.receive()
        let tasks = (0..<250).map { self.call(hub, "m\($0)") }
        var rids: [String] = []
        for _ in tasks { rids.append(try await self.next(client).rid) }
        hub.events.mode = .held
        var bytes = ByteBuffer()
        for id in UInt16(1)...1000 {
            let packet: Packet =
                switch id % 4 {
                case 0: self.answer(rids[Int(id) / 4 - 1], "\(id)", "{}", id: id)
                case 1:
                    .telemetry(#"{"n":\#(id)}"#, id: id, topic: "$iothub/twin/PATCH/properties/reported/?$rid=\(id)")
                case 2: .telemetry("", id: id, topic: "$iothub/twin/GET/?$rid=\(id)")
                default: .telemetry("\(id)", id: id)
                }
            try packet.encode(into: &bytes)
        }
        try await client.send(bytes)
        // All of them are in flight: no PUBACK passes the first message, which is not stored yet.
        for task in tasks { _ = try await task.value }
        var acknowledged: [UInt16] = []
        var answered = 0
        var isReleased = false
        while acknowledged.count < 1000 || answered < 500 {
            switch try await client.receive() {
            case .puback(let puback): acknowledged.append(puback.packetID)
            case .publish: answered += 1
            default: throw HubError(.internalError, "Another packet came.")
            }
            if !isReleased, answered == 500 {
                #expect(acknowledged == [1, 2])
                isReleased = true
                hub.events.mode = .immediate
                hub.events.release()
            }
        }
        #expect(acknowledged == Array(1...1000))
        #expect(try hub.storedEvents().map(\.bodyText) == stride(from: 3, through: 1000, by: 4).map { "\($0)" })
    }
}
