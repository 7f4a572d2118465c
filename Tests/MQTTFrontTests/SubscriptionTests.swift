// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import EmbeddedStore
import Hub
import HubModel
import MQTT
import NIOCore
import NIOEmbedded
import Testing

@testable import MQTTFront

/// SUBSCRIBE, UNSUBSCRIBE and the session that outlives a connection (docs/wire/mqtt.md, statements 37 to 46).
@Suite(.timeLimit(.minutes(1))) struct SubscriptionTests {
    private static let filters = [
        "devices/d1/messages/devicebound/#", "$iothub/methods/POST/#", "$iothub/twin/PATCH/properties/desired/#",
        "$iothub/twin/res/#",
    ]

    private func stored(_ hub: TestHub, _ id: IdentityID = IdentityID(device: "d1")) async throws -> [String] {
        try await hub.identities.subscriptions(of: id).map { "\($0.filter) \($0.qos)" }
    }

    private func held(_ client: TestClient) async throws -> [String] {
        try await client.inspect { $0.machine.subscriptions.held.map(\.filter) }
    }

    @Test func `mqtt 037 mqtt 038 each filter is granted at the lower of its QoS and 1`() async throws {
        let hub = try await TestHub()
        let client = try await TestClient.signedIn(hub)
        for (index, filter) in Self.filters.enumerated() {
            for qos in QoS.allCases {
                let id = UInt16(index * 10 + 1) + UInt16(qos.rawValue)
                try await client.send(.subscribe(id, filter, qos: qos))
                let code = min(qos.rawValue, 1)
                #expect(try await client.receive() == .suback(Suback(packetID: id, returnCodes: [code])))
            }
        }
        #expect(try await stored(hub) == Self.filters.map { "\($0) 1" })
    }

    @Test func `mqtt 039 five filters in one SUBSCRIBE get one SUBACK with five codes in order`() async throws {
        let hub = try await TestHub()
        let client = try await TestClient.signedIn(hub)
        let qos: [QoS] = [.atLeastOnce, .atMostOnce, .exactlyOnce, .atMostOnce, .atLeastOnce]
        let requests = zip(Self.filters + ["devices/d1/#"], qos).map { Subscribe.Request(filter: $0, qos: $1) }
        try await client.send(.subscribe(Subscribe(packetID: 5, requests: requests)))
        #expect(try await client.receive() == .suback(Suback(packetID: 5, returnCodes: [1, 0, 1, 0, 1])))
    }

    @Test func `mqtt 040 the filter that Java's modules open with is accepted`() async throws {
        let hub = try await TestHub()
        let client = try await TestClient.signedIn(hub, as: "d1/m1")
        try await client.send(.subscribe(1, "devices/d1/modules/m1/messages/devicebound/#"))
        #expect(try await client.receive() == .suback(Suback(packetID: 1, returnCodes: [1])))
    }

    @Test func `mqtt 041 a filter of another device closes the connection without an answer`() async throws {
        let hub = try await TestHub()
        let client = try await TestClient.signedIn(hub)
        try await client.send(.subscribe(1, Self.filters[0], "devices/d2/messages/devicebound/#"))
        try await client.expectClosed()
        #expect(try await client.receivedBytes().isEmpty)
        #expect(try await stored(hub).isEmpty)
    }

    @Test func `UNSUBSCRIBE is answered whether the filter was held or not, and takes it out of the store`()
        async throws
    {
        let hub = try await TestHub()
        let client = try await TestClient.signedIn(hub)
        try await client.send(.subscribe(1, Self.filters[0], Self.filters[1]))
        _ = try await client.receive()
        try await client.send(.unsubscribe(Unsubscribe(packetID: 2, filters: [Self.filters[0]])))
        #expect(try await client.receive() == .unsuback(Unsuback(packetID: 2)))
        try await client.send(.unsubscribe(Unsubscribe(packetID: 3, filters: ["devices/d2/#"])))
        #expect(try await client.receive() == .unsuback(Unsuback(packetID: 3)))
        #expect(try await stored(hub) == ["\(Self.filters[1]) 1"])
        #expect(try await held(client) == [Self.filters[1]])
    }

    /// A client that held all filters in a kept session and left.
    private func leave(_ hub: TestHub) async throws {
        let first = try await TestClient.signedIn(hub)
        try await first.send(
            .subscribe(Subscribe(packetID: 1, requests: Self.filters.map { .init(filter: $0, qos: .atLeastOnce) }))
        )
        _ = try await first.receive()
        try await first.send(.disconnect)
        try await first.expectClosed()
    }

    /// Writes a desired property, which whoever holds the filter is told of.
    private func desire(_ hub: TestHub) async throws {
        let body = ByteBuffer(string: #"{"properties":{"desired":{"a":1}}}"#)
        _ = try await hub.hub.twins.write(IdentityID(device: "d1"), body: body, replaces: false, ifMatch: nil)
    }

    private static let report = Packet.telemetry(
        #"{"a":1}"#,
        id: 7,
        topic: "$iothub/twin/PATCH/properties/reported/?$rid=1"
    )

    @Test func `a filter that is longer than any that an SDK sends closes the connection`() async throws {
        let hub = try await TestHub()
        let prefix = "devices/d1/messages/devicebound/"
        let client = try await TestClient.signedIn(hub)
        try await client.send(.subscribe(1, prefix + String(repeating: "x", count: 2_048 - prefix.utf8.count)))
        #expect(try await client.receive() == .suback(Suback(packetID: 1, returnCodes: [1])))
        try await client.send(.subscribe(2, prefix + String(repeating: "x", count: 2_049 - prefix.utf8.count)))
        try await client.expectClosed()
    }

    @Test func `mqtt 044 a kept session has its filters after a reconnect, without a new SUBSCRIBE`() async throws {
        let hub = try await TestHub()
        try await leave(hub)
        let second = try await TestClient.signedIn(hub)
        // Commands and methods are not sent yet: of their filters it shows that they are held.
        #expect(try await held(second) == Self.filters)
        try await desire(hub)
        try await second.send(Self.report)
        var topics: [String] = []
        while topics.count < 2 {
            if case .publish(let publish) = try await second.receive() { topics.append(String(buffer: publish.topic)) }
        }
        #expect(
            topics == ["$iothub/twin/PATCH/properties/desired/?$version=2", "$iothub/twin/res/204/?$rid=1&$version=2"]
        )
    }

    @Test func `mqtt 045 a clean session forgets what a kept one subscribed`() async throws {
        let hub = try await TestHub()
        try await leave(hub)
        let clean = try await TestClient.signedIn(hub, clean: true)
        #expect(try await held(clean).isEmpty)
        #expect(try await stored(hub).isEmpty)
        try await desire(hub)
        try await clean.send(Self.report)
        // Neither the notice before it nor the answer after it.
        #expect(try await clean.receive() == .puback(7))
        try await clean.send(.pingreq)
        #expect(try await clean.receive() == .pingresp)
        try await clean.cut()
        #expect(try await held(try await TestClient.signedIn(hub)).isEmpty)
    }

    @Test func `mqtt 046 a clean session leaves no filters behind`() async throws {
        let hub = try await TestHub()
        let clean = try await TestClient.signedIn(hub, clean: true)
        try await clean.send(.subscribe(1, Self.filters[0]))
        #expect(try await clean.receive() == .suback(Suback(packetID: 1, returnCodes: [1])))
        #expect(try await held(clean) == [Self.filters[0]])
        try await clean.cut()
        let kept = try await TestClient.signedIn(hub)
        #expect(try await held(kept).isEmpty)
    }

    @Test(arguments: ["a+b", "+", "#", "a#", "%2F", "..", "$iothub", "d1%23", "*"])
    func `an id with wildcards or dots in it is served as any other, and sees nothing of others`(
        _ id: String
    ) async throws {
        let hub = try await TestHub()
        try await hub.register(IdentityID(device: id))
        let client = try await TestClient.open(hub)
        let token = TestHub.token(TestHub.host, key: TestHub.policyKey, policy: "device")
        try await client.send(.connect(TestClient.connect(id, token: token)))
        #expect(try await client.receive() == .connack(Connack(sessionPresent: true, returnCode: .accepted)))
        try await client.send(.subscribe(1, "devices/\(id)/messages/devicebound/#", "$iothub/methods/POST/#"))
        #expect(try await client.receive() == .suback(Suback(packetID: 1, returnCodes: [1, 1])))
        try await client.publish("own", id: 2, topic: "devices/\(id)/messages/events/")
        #expect(try await client.receive() == .puback(2))
        #expect(
            try hub.storedEvents().map { $0.annotations["iothub-connection-device-id"] } == [id]
        )
        try await hub.send("for d1")
        try await client.send(.unsubscribe(Unsubscribe(packetID: 3, filters: ["devices/\(id)/messages/devicebound/#"])))
        #expect(try await client.receive() == .unsuback(Unsuback(packetID: 3)))
        try await client.publish("another's", id: 4, topic: "devices/d1/messages/events/")
        try await client.expectClosed()
        #expect(try await client.receivedBytes().isEmpty)
    }

    @Test(arguments: [
        "devices/d1/messages/#/x", "devices/d1+/#", "devices/#/messages", "$iothub/methods/POST/re+boot/#", "d#", "",
        "devices/d1/modules/m1/inputs/#", "devices/+/messages/events/#", "$SYS/#", "$iothub/methods/res/#",
        "devices/d1/messages/devicebound/#/",
    ])
    func `mqtt 041 a filter that is malformed or covers nothing of the client's closes the connection`(
        _ filter: String
    ) async throws {
        let hub = try await TestHub()
        let client = try await TestClient.signedIn(hub)
        try await client.send(.subscribe(1, filter))
        try await client.expectClosed()
        #expect(try await client.receivedBytes().isEmpty)
    }

    @Test func `acknowledgements of the store and of the log leave in the order of arrival`() async throws {
        let hub = try await TestHub()
        let client = try await TestClient.signedIn(hub)
        hub.events.mode = .held
        try await client.send(.telemetry(id: 1), .subscribe(2, Self.filters[0]), .telemetry(id: 3))
        while try await stored(hub).isEmpty { await Task.yield() }
        #expect(try await client.receivedBytes().isEmpty)
        hub.events.release()
        for expected in [Packet.puback(1), .suback(Suback(packetID: 2, returnCodes: [1])), .puback(3)] {
            #expect(try await client.receive() == expected)
        }
    }
}
