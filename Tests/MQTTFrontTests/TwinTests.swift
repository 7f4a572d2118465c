// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import EmbeddedStore
import Hub
import HubModel
import JSON
import MQTT
import NIOCore
import Testing

@testable import MQTTFront

/// Reading and reporting over MQTT (docs/wire/mqtt.md#twins, statements 79 to 88).
@Suite(.timeLimit(.minutes(1))) struct TwinTests {
    private static let answers = "$iothub/twin/res/#"
    private static let notices = "$iothub/twin/PATCH/properties/desired/#"
    private static let reports = "$iothub/twin/PATCH/properties/reported/"
    private let d1 = IdentityID(device: "d1")

    private func client(_ hub: TestHub, _ filters: String..., as id: String = "d1") async throws -> TestClient {
        let client = try await TestClient.signedIn(hub, as: id)
        for (index, filter) in filters.enumerated() {
            let packetID = UInt16(60_000 + index)
            try await client.send(.subscribe(packetID, filter))
            #expect(try await client.receive() == .suback(Suback(packetID: packetID, returnCodes: [1])))
        }
        return client
    }

    /// The next packet, which must be a PUBLISH at QoS 0.
    private func next(_ client: TestClient) async throws -> (topic: String, body: String) {
        guard case .publish(let publish) = try await client.receive() else {
            throw HubError(.internalError, "The packet is no PUBLISH.")
        }
        #expect(publish.qos == .atMostOnce)
        return (String(buffer: publish.topic), String(buffer: publish.payload))
    }

    private func desire(_ hub: TestHub, _ properties: String, of id: IdentityID? = nil) async throws {
        let body = ByteBuffer(string: #"{"properties":{"desired":\#(properties)}}"#)
        _ = try await hub.hub.twins.write(id ?? self.d1, body: body, replaces: false, ifMatch: nil)
    }

    @Test func `mqtt 079 the twin is read at either QoS, a PUBACK before the answer`() async throws {
        let hub = try await TestHub()
        let client = try await self.client(hub, Self.answers)
        try await client.send(.telemetry("", id: 0, topic: "$iothub/twin/GET/?$rid=abc"))
        let fresh = #"{"desired":{"$version":1},"reported":{"$version":1}}"#
        #expect(try await self.next(client) == ("$iothub/twin/res/200/?$rid=abc", fresh))
        try await client.send(.telemetry(" ", id: 7, topic: "$iothub/twin/GET/?$rid=d-e"))
        #expect(try await client.receive() == .puback(7))
        #expect(try await self.next(client) == ("$iothub/twin/res/200/?$rid=d-e", fresh))
        try await client.send(.telemetry(" ", id: 0, topic: "$iothub/twin/GET?$rid=1&other=x"))
        #expect(try await self.next(client) == ("$iothub/twin/res/200/?$rid=1", fresh))
    }

    @Test func `mqtt 080 reports are merged and answered with their version`() async throws {
        let hub = try await TestHub()
        let client = try await self.client(hub, Self.answers)
        try await client.send(.telemetry(#"{"a":{"b":1}}"#, id: 0, topic: Self.reports + "?$rid=1"))
        #expect(try await self.next(client) == ("$iothub/twin/res/204/?$rid=1&$version=2", ""))
        try await client.send(.telemetry(#"{"a":{"b":null,"c":2}}"#, id: 9, topic: Self.reports + "?$rid=2"))
        #expect(try await client.receive() == .puback(9))
        #expect(try await self.next(client) == ("$iothub/twin/res/204/?$rid=2&$version=3", ""))
        #expect(try await hub.twins.twin(self.d1).twin.reported.text == ByteBuffer(string: #"{"a":{"c":2}}"#))
    }

    @Test func `mqtt 081 a stale version is refused with an error body`() async throws {
        let hub = try await TestHub()
        let client = try await self.client(hub, Self.answers)
        let cases = [
            ("1", "204/?$rid=r&$version=2"), ("1", "412/?$rid=r"), ("one", "412/?$rid=r"),
            ("2", "204/?$rid=r&$version=3"),
        ]
        for (version, status) in cases {
            let topic = Self.reports + "?$rid=r&$version=\(version)"
            try await client.send(.telemetry(#"{"a":1}"#, id: 0, topic: topic))
            let answer = try await self.next(client)
            #expect(answer.topic == "$iothub/twin/res/" + status)
            guard status.hasPrefix("412") else { continue }
            #expect(try JSONDocument(parsing: answer.body).root["errorCode"]?.int == 412_001)
        }
    }

    @Test func `a report that nobody would be told is not taken closes the connection unacknowledged`() async throws {
        let hub = try await TestHub()
        let client = try await self.client(hub, Self.answers)
        // As many as may be open, and one more, before the store can answer any.
        var bytes = ByteBuffer()
        let countMax = hub.hub.limits.twinRequestsPerConnectionMax
        for number in 0...countMax {
            try Packet.telemetry("{}", id: number < countMax ? 0 : 7, topic: Self.reports).encode(into: &bytes)
        }
        try await client.send(bytes)
        try await client.expectClosed()
        #expect(try await client.receivedBytes().isEmpty)
    }

    @Test(arguments: ["{", "[1]", "\"x\"", #"{"$version":3}"#, #"{"a.b":1}"#])
    func `mqtt 082 mqtt 088 a report that breaks a rule is answered 400 and the connection stays`(
        _ body: String
    ) async throws {
        let hub = try await TestHub()
        let client = try await self.client(hub, Self.answers)
        try await client.send(.telemetry(body, id: 3, topic: Self.reports + "?$rid=r"))
        #expect(try await client.receive() == .puback(3))
        let answer = try await self.next(client)
        #expect(answer.topic == "$iothub/twin/res/400/?$rid=r")
        let error = try JSONDocument(parsing: answer.body).root
        #expect([400_004, 400_006].contains(error["errorCode"]?.int))
        #expect(error["message"]?.string?.hasPrefix("ErrorCode:") == true)
        #expect(error["trackingId"]?.string != nil)
        #expect(error["timestampUtc"]?.string?.hasSuffix("Z") == true)
        #expect(await client.isOpen())
        #expect(try await hub.twins.twin(self.d1).twin == Twin(freshFor: self.d1))
    }

    @Test func `mqtt 083 a desired change is told at QoS 0 with its version twice`() async throws {
        let hub = try await TestHub()
        let client = try await self.client(hub, Self.notices)
        try await self.desire(hub, #"{"interval":5,"old":null}"#)
        #expect(
            try await self.next(client) == (
                "$iothub/twin/PATCH/properties/desired/?$version=2", #"{"interval":5,"old":null,"$version":2}"#
            )
        )
    }

    @Test func `mqtt 084 mqtt 085 only desired changes are told, and only while it holds the filter`() async throws {
        let hub = try await TestHub()
        try await self.desire(hub, #"{"before":1}"#)
        let client = try await self.client(hub, Self.notices, Self.answers)
        let tags = ByteBuffer(string: #"{"tags":{"a":1}}"#)
        _ = try await hub.hub.twins.write(self.d1, body: tags, replaces: false, ifMatch: nil)
        try await client.send(.telemetry(#"{"a":1}"#, id: 0, topic: Self.reports + "?$rid=1"))
        #expect(try await self.next(client).topic == "$iothub/twin/res/204/?$rid=1&$version=2")
        try await client.send(.unsubscribe(Unsubscribe(packetID: 5, filters: [Self.notices])))
        #expect(try await client.receive() == .unsuback(Unsuback(packetID: 5)))
        try await self.desire(hub, #"{"after":1}"#)
        try await client.send(.telemetry("", id: 0, topic: "$iothub/twin/GET/?$rid=2"))
        #expect(
            try await self.next(client).body
                == #"{"desired":{"before":1,"after":1,"$version":3},"reported":{"a":1,"$version":2}}"#
        )
    }

    @Test func `a stored filter brings notices without a new SUBSCRIBE`() async throws {
        let hub = try await TestHub()
        let first = try await self.client(hub, Self.notices)
        try await first.cut()
        let second = try await TestClient.signedIn(hub)
        try await self.desire(hub, #"{"a":1}"#)
        #expect(try await self.next(second).topic == "$iothub/twin/PATCH/properties/desired/?$version=2")
    }

    @Test func `a module has its own twin on the same topics`() async throws {
        let hub = try await TestHub()
        let device = try await self.client(hub, Self.answers, Self.notices)
        let module = try await self.client(hub, Self.answers, Self.notices, as: "d1/m1")
        try await module.send(.telemetry(#"{"m":1}"#, id: 0, topic: Self.reports + "?$rid=1"))
        #expect(try await self.next(module).topic == "$iothub/twin/res/204/?$rid=1&$version=2")
        try await self.desire(hub, #"{"x":1}"#, of: IdentityID(device: "d1", module: "m1"))
        #expect(try await self.next(module).body == #"{"x":1,"$version":2}"#)
        try await device.send(.telemetry("", id: 0, topic: "$iothub/twin/GET/?$rid=2"))
        #expect(try await self.next(device).body == #"{"desired":{"$version":1},"reported":{"$version":1}}"#)
    }

    @Test func `mqtt 086 without the filter there is no answer and the connection stays`() async throws {
        let hub = try await TestHub()
        let client = try await self.client(hub)
        try await client.send(.telemetry("", id: 0, topic: "$iothub/twin/GET/?$rid=1"))
        try await client.send(.telemetry(#"{"a":1}"#, id: 4, topic: Self.reports + "?$rid=2"))
        #expect(try await client.receive() == .puback(4))
        try await client.send(.pingreq)
        #expect(try await client.receive() == .pingresp)
    }

    @Test func `mqtt 087 a read without a request id closes, a report without one is carried out`() async throws {
        let hub = try await TestHub()
        let client = try await self.client(hub, Self.answers)
        try await client.send(.telemetry(#"{"a":1}"#, id: 8, topic: Self.reports))
        #expect(try await client.receive() == .puback(8))
        #expect(try await hub.twins.twin(self.d1).twin.reported.version == 2)
        try await client.send(.telemetry("", id: 0, topic: "$iothub/twin/GET/"))
        try await client.expectClosed()
        #expect(try await client.receivedBytes().isEmpty)
    }

    @Test func `PUBACKs of telemetry and reports leave in the order of arrival`() async throws {
        let hub = try await TestHub()
        let client = try await self.client(hub, Self.answers)
        var bytes = ByteBuffer()
        for id in UInt16(1)...300 {
            let packet: Packet =
                switch id % 3 {
                case 0: .telemetry("t", id: id)
                case 1: .telemetry(#"{"n":\#(id)}"#, id: id, topic: Self.reports + "?$rid=\(id)")
                default: .telemetry("", id: id, topic: "$iothub/twin/GET/?$rid=\(id)")
                }
            try packet.encode(into: &bytes)
        }
        try await client.send(bytes)
        var acknowledged: [UInt16] = []
        var answered: [String] = []
        while acknowledged.count < 300 || answered.count < 200 {
            switch try await client.receive() {
            case .puback(let puback): acknowledged.append(puback.packetID)
            case .publish(let publish): answered.append(String(buffer: publish.topic))
            default: throw HubError(.internalError, "Another packet came.")
            }
        }
        #expect(acknowledged == Array(1...300))
        let versions = answered.filter { $0.contains("/204/") }.map { $0.split(separator: "=").last ?? "" }
        #expect(versions == (2...101).map { "\($0)" })
    }
}
