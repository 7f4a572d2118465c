// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import Hub
import HubModel
import HubTesting
import MQTT
import NIOCore
import NIOEmbedded
import Testing

@testable import MQTTFront

/// Commands over MQTT (docs/wire/mqtt.md#commands, statements 61 to 70).
@Suite(.timeLimit(.minutes(1))) struct CommandTests {
    private static let filter = "devices/d1/messages/devicebound/#"
    private static let bare = "devices/d1/messages/devicebound/%24.to=%2Fdevices%2Fd1%2Fmessages%2FdeviceBound"

    private func subscribed(_ hub: TestHub, qos: QoS = .atLeastOnce, clean: Bool = false) async throws -> TestClient {
        let client = try await TestClient.signedIn(hub, clean: clean)
        try await subscribe(client, qos: qos)
        return client
    }

    private func subscribe(_ client: TestClient, _ filter: String = filter, qos: QoS = .atLeastOnce) async throws {
        try await client.send(.subscribe(60_000, filter, qos: qos))
        #expect(try await client.receive() == .suback(Suback(packetID: 60_000, returnCodes: [qos.rawValue])))
    }

    /// The next packet, which must be a command; returns its body and the id to acknowledge it with.
    private func next(_ client: TestClient, duplicate: Bool = false) async throws -> (body: String, id: UInt16) {
        let publish = try await client.receivePublish()
        #expect(String(buffer: publish.topic).hasPrefix("devices/d1/messages/devicebound/%24.to="))
        #expect(publish.qos == .atLeastOnce && publish.packetID != 0 && !publish.retain)
        #expect(publish.duplicate == duplicate)
        return (String(buffer: publish.payload), publish.packetID)
    }

    /// Waits until the hub knows of the PUBACKs sent before.
    private func expectPending(_ count: Int, _ hub: TestHub) async throws {
        let deadline = ContinuousClock.now + .seconds(10)
        while try await hub.hub.commands.pendingCount(of: IdentityID(device: "d1")) != count {
            try #require(ContinuousClock.now < deadline, "another number of commands than \(count) waits")
            await Task.yield()
        }
    }

    /// Whether nothing came before the answer to a ping.
    private func expectNothing(_ client: TestClient) async throws {
        try await client.send(.pingreq)
        #expect(try await client.receive() == .pingresp)
    }

    @Test func `mqtt 061 mqtt 062 a command is one PUBLISH at QoS 1 whose bag says at least where it goes`()
        async throws
    {
        let hub = try await TestHub()
        let client = try await subscribed(hub)
        try await hub.send("yo")
        let publish = try await client.receivePublish()
        #expect(String(buffer: publish.topic) == Self.bare)
        #expect(String(buffer: publish.payload) == "yo")
        #expect(publish.qos == .atLeastOnce && !publish.retain && !publish.duplicate)
        try await hub.send("ho") {
            $0.messageID = "m"
            $0.contentType = "text/plain"
            $0.properties = [MessageProperty(name: "a/b", value: "c d")]
        }
        #expect(
            String(buffer: try await client.receivePublish().topic)
                == Self.bare + "&%24.mid=m&%24.ct=text%2Fplain&a%2Fb=c%20d"
        )
        try await expectNothing(client)
    }

    @Test func `mqtt 064 PUBACK completes a command, with feedback where it is wanted`() async throws {
        let hub = try await TestHub()
        let client = try await subscribed(hub)
        try await hub.send("yo") { ($0.messageID, $0.acknowledgement) = ("m", .full) }
        let command = try await next(client)
        try await expectPending(1, hub)
        #expect(try await hub.feedback().isEmpty)
        try await client.send(.puback(command.id))
        try await expectPending(0, hub)
        let records = try await hub.feedback()
        #expect(records.map(\.status) == [.success])
        #expect(records.map(\.messageID) == ["m"])
        try await client.cut()
        try await expectNothing(try await TestClient.signedIn(hub))
    }

    @Test func `mqtt 065 without a PUBACK a command comes again on the next connection, with DUP`() async throws {
        let hub = try await TestHub()
        let first = try await subscribed(hub)
        for body in ["a", "b", "c"] { try await hub.send(body) }
        var ids: [UInt16] = []
        for body in ["a", "b", "c"] {
            let command = try await next(first)
            #expect(command.body == body)
            ids.append(command.id)
        }
        try await first.send(.puback(ids[1]))
        try await expectPending(2, hub)
        // Time alone brings nothing again: a lock lasts as long as the connection.
        await first.advance(seconds: 120)
        hub.advanceClock(seconds: 120)
        try await expectNothing(first)
        try await first.cut()
        let second = try await TestClient.signedIn(hub)
        for body in ["a", "c"] {
            let command = try await next(second, duplicate: true)
            #expect(command.body == body)
            try await second.send(.puback(command.id))
        }
        try await expectPending(0, hub)
    }

    @Test func `mqtt 066 at QoS 0 a command is done with when it is sent`() async throws {
        let hub = try await TestHub()
        let client = try await subscribed(hub, qos: .atMostOnce)
        try await hub.send("yo") { $0.acknowledgement = .positive }
        let publish = try await client.receivePublish()
        #expect(publish.qos == .atMostOnce && !publish.duplicate)
        try await expectPending(0, hub)
        #expect(try await hub.feedback().map(\.status) == [.success])
        try await client.cut()
        try await expectNothing(try await TestClient.signedIn(hub))
    }

    @Test func `mqtt 067 mqtt 044 what was sent while it was away comes after CONNACK in order, but what is over`()
        async throws
    {
        let hub = try await TestHub()
        try await subscribed(hub).cut()
        try await hub.send("a")
        try await hub.send("over") { $0.expiresMilliseconds = (TestHub.start + 60) * 1000 }
        for body in ["b", "c"] { try await hub.send(body) }
        hub.advanceClock(seconds: 61)
        // The client demands that CONNACK comes first.
        let client = try await TestClient.signedIn(hub)
        for body in ["a", "b", "c"] { #expect(try await next(client).body == body) }
        try await expectNothing(client)
    }

    @Test(arguments: [true, false])
    func `mqtt 068 mqtt 070 what was sent without a filter waits for it, for a clean session too`(
        _ clean: Bool
    ) async throws {
        let hub = try await TestHub()
        try await hub.send("before")
        let client = try await TestClient.signedIn(hub, clean: clean)
        try await hub.send("connected")
        try await expectNothing(client)
        try await subscribe(client)
        for body in ["before", "connected"] { #expect(try await next(client).body == body) }
    }

    @Test(arguments: ["#", "devices/d1/#", "devices/d1/messages/#", "devices/d1/messages/devicebound/+", "+/+/#"])
    func `mqtt 042 a wider filter brings commands too`(_ filter: String) async throws {
        let hub = try await TestHub()
        let client = try await TestClient.signedIn(hub)
        try await subscribe(client, filter)
        try await hub.send("yo")
        #expect(try await next(client).body == "yo")
    }

    @Test func `mqtt 043 after UNSUBSCRIBE commands wait`() async throws {
        let hub = try await TestHub()
        let client = try await subscribed(hub)
        try await client.send(.unsubscribe(Unsubscribe(packetID: 2, filters: [Self.filter])))
        #expect(try await client.receive() == .unsuback(Unsuback(packetID: 2)))
        try await hub.send("later")
        try await expectNothing(client)
        try await expectPending(1, hub)
        try await subscribe(client)
        #expect(try await next(client).body == "later")
    }

    @Test func `no more commands are under way than the window holds, and they keep their order`() async throws {
        let hub = try await TestHub()
        let client = try await subscribed(hub)
        for n in 0..<40 { try await hub.send("\(n)") }
        var open: [UInt16] = []
        for n in 0..<16 {
            let command = try await next(client)
            #expect(command.body == "\(n)")
            open.append(command.id)
        }
        #expect(Set(open).count == 16)
        try await expectNothing(client)
        for n in 16..<40 {
            try await client.send(.puback(open.removeFirst()))
            let command = try await next(client)
            #expect(command.body == "\(n)")
            open.append(command.id)
        }
        for id in open { try await client.send(.puback(id)) }
        try await expectPending(0, hub)
    }

    @Test func `a newer connection gets what the older one did not acknowledge, before anything newer`() async throws {
        let hub = try await TestHub()
        let first = try await subscribed(hub)
        for body in ["a", "b"] { try await hub.send(body) }
        for _ in 0..<2 { _ = try await next(first) }
        try await hub.send("c")
        _ = try await next(first)
        let second = try await TestClient.signedIn(hub)
        try await first.expectClosed()
        for body in ["a", "b", "c"] { #expect(try await next(second, duplicate: true).body == body) }
        try await expectNothing(second)
    }

    @Test(arguments: ["cut", "DISCONNECT", "taken over"])
    func `a command that ten connections in a row leave without PUBACK is over`(_ end: String) async throws {
        let hub = try await TestHub()
        try await subscribed(hub).cut()
        try await hub.send("crash") { ($0.messageID, $0.acknowledgement) = ("m", .full) }
        var older: TestClient?
        for count in 1...10 {
            let client = try await TestClient.signedIn(hub)
            #expect(try await next(client, duplicate: count > 1).body == "crash")
            try await older?.expectClosed()
            switch end {
            case "cut": try await client.cut()
            case "DISCONNECT": try await client.send(.disconnect)
            default: older = client
            }
        }
        try await hub.send("after")
        if let older { #expect(try await next(older).body == "after") }
        let last = try await TestClient.signedIn(hub)
        #expect(try await next(last, duplicate: older != nil).body == "after")
        #expect(try await hub.feedback().map(\.status) == [.deliveryCountExceeded])
    }

    @Test func `a hub that stops does not count what it could not settle`() async throws {
        let hub = try await TestHub()
        try await subscribed(hub).cut()
        try await hub.send("yo")
        for count in 1...12 {
            let client = try await TestClient.signedIn(hub)
            #expect(try await next(client, duplicate: count > 1).body == "yo")
            client.channel.pipeline.fireUserInboundEventTriggered(ChannelShouldQuiesceEvent())
            try await client.expectClosed()
        }
    }

    @Test func `a filter that covers one bag only does not keep the hub busy with commands of others`() async throws {
        let hub = try await TestHub()
        let client = try await TestClient.signedIn(hub)
        try await subscribe(client, "devices/d1/messages/devicebound/%24.to=")
        try await hub.send("yo")
        for _ in 1...5 { try await expectNothing(client) }
        #expect(hub.commands.locks == 0)
        try await expectPending(1, hub)
    }

    @Test func `nothing is taken from the queue for a client that does not read`() async throws {
        let hub = try await TestHub()
        let client = try await subscribed(hub, qos: .atMostOnce)
        try await client.channel.testingEventLoop.executeInContext { client.channel.isWritable = false }
        for n in 0..<20 { try await hub.send("\(n)") }
        #expect(try await client.receivedBytes().isEmpty)
        try await expectPending(20, hub)
        try await client.channel.testingEventLoop.executeInContext {
            client.channel.isWritable = true
            client.channel.pipeline.fireChannelWritabilityChanged()
        }
        for n in 0..<20 { #expect(String(buffer: try await client.receivePublish().payload) == "\(n)") }
        try await expectPending(0, hub)
    }

    @Test func `a command whose properties fit into no topic is rejected, and does not hold up the others`()
        async throws
    {
        let hub = try await TestHub()
        let client = try await subscribed(hub)
        try await hub.send("long") {
            $0.acknowledgement = .full
            $0.properties = [MessageProperty(name: "p", value: String(repeating: "ä", count: 20_000))]
        }
        try await hub.send("short")
        #expect(try await next(client).body == "short")
        try await expectPending(1, hub)
        #expect(try await hub.feedback().map(\.status) == [.rejected])
    }

    @Test func `a hub that stops gives back what is not acknowledged and keeps what is`() async throws {
        let hub = try await TestHub()
        let client = try await subscribed(hub)
        for body in ["a", "b"] { try await hub.send(body) }
        let first = try await next(client)
        _ = try await next(client)
        try await client.channel.testingEventLoop.executeInContext {
            var bytes = ByteBuffer()
            try Packet.puback(first.id).encode(into: &bytes)
            client.channel.pipeline.fireChannelRead(bytes)
            client.channel.pipeline.fireChannelReadComplete()
            client.channel.pipeline.fireUserInboundEventTriggered(ChannelShouldQuiesceEvent())
        }
        try await client.expectClosed()
        try await expectPending(1, hub)
        let second = try await TestClient.signedIn(hub)
        #expect(try await next(second, duplicate: true).body == "b")
    }

    // MARK: A store that fails

    @Test func `commands that can't be read are asked for again`() async throws {
        let hub = try await TestHub()
        let client = try await subscribed(hub)
        hub.commands.isBroken = true
        try await hub.send("yo")
        let asked = hub.commands.locks
        await client.advance(seconds: 2)
        #expect(hub.commands.locks > asked)
        try await expectNothing(client)
        hub.commands.isBroken = false
        await client.advance(seconds: 1)
        #expect(try await next(client).body == "yo")
    }

    @Test func `a PUBACK that can't be stored is stored later, and holds its place in the window until then`()
        async throws
    {
        var limits = MQTTFrontLimits()
        limits.connection.outgoingWindowMax = 1
        let hub = try await TestHub(limits: limits)
        let client = try await subscribed(hub)
        for body in ["a", "b"] { try await hub.send(body) }
        let first = try await next(client)
        hub.commands.isBroken = true
        try await client.send(.puback(first.id))
        for _ in 1...10 where hub.commands.settlements < 3 { await client.advance(seconds: 1) }
        #expect(hub.commands.settlements >= 3)
        try await expectNothing(client)
        try await expectPending(2, hub)
        hub.commands.isBroken = false
        await client.advance(seconds: 1)
        let second = try await next(client)
        #expect(second.body == "b")
        try await client.send(.puback(second.id))
        try await expectPending(0, hub)
    }

    @Test func `a PUBACK alone does not ask the store for more`() async throws {
        let hub = try await TestHub()
        let client = try await subscribed(hub)
        for n in 0..<5 {
            try await hub.send("\(n)")
            let command = try await next(client)
            let asked = hub.commands.locks
            try await client.send(.puback(command.id))
            try await expectPending(0, hub)
            try await expectNothing(client)
            #expect(hub.commands.locks == asked)
        }
    }

    @Test func `a module has no commands`() async throws {
        let hub = try await TestHub()
        let module = try await TestClient.signedIn(hub, as: "d1/m1")
        try await subscribe(module, "devices/d1/modules/m1/messages/devicebound/#")
        try await hub.send("for the device")
        try await expectNothing(module)
        try await expectPending(1, hub)
    }
}
