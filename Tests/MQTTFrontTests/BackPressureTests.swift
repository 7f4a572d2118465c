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

/// What the front does when more comes than it may take, and when nothing can be stored.
@Suite(.timeLimit(.minutes(1))) struct BackPressureTests {
    /// Does what a channel does after each of its reads.
    private func askToRead(_ client: TestClient) async throws -> Bool {
        try await client.channel.testingEventLoop.executeInContext { client.channel.pipeline.read() }
        return try await client.inspect { !$0.readIsHeld }
    }

    @Test func `PUBACK leaves only when the message is durable`() async throws {
        let hub = try await TestHub()
        let client = try await TestClient.signedIn(hub)
        hub.events.mode = .held
        try await client.send(.telemetry("a", id: 1), .telemetry("b", id: 2))
        #expect(hub.events.waitingCount == 1)
        #expect(try await client.receivedBytes().isEmpty)
        hub.events.release()
        #expect(try await client.receive() == .puback(1))
        #expect(try await client.receive() == .puback(2))
        #expect(try hub.storedEvents().map(\.bodyText) == ["a", "b"])
    }

    @Test func `all PUBACKs of a batch are one write`() async throws {
        let hub = try await TestHub()
        let client = try await TestClient.signedIn(hub)
        try await client.send(.telemetry(id: 1), .telemetry(id: 2), .pingreq, .telemetry(id: 3))
        let write = try await client.nextWrite()
        #expect(write.readableBytes == 2 + 3 * 4)
    }

    @Test func `at the bound of pending acknowledgements the connection is not read`() async throws {
        var limits = MQTTFrontLimits()
        limits.connection.acknowledgementsPendingMax = 2
        let hub = try await TestHub(limits: limits)
        let client = try await TestClient.signedIn(hub, keepAliveSeconds: 10)
        hub.events.mode = .held
        #expect(try await askToRead(client))
        try await client.send(.telemetry("a", id: 1), .telemetry("b", id: 2), .telemetry("c", id: 3))
        #expect(try await askToRead(client) == false)
        #expect(hub.events.waitingCount == 1)
        // It is the server that does not read: no silence of the client's.
        await client.advance(seconds: 100)
        #expect(await client.isOpen())
        hub.events.mode = .immediate
        hub.events.release()
        for id in 1...3 { #expect(try await client.receive() == .puback(UInt16(id))) }
        #expect(try await client.inspect { !$0.readIsHeld })
        await client.advance(seconds: 15)
        try await client.expectClosed()
    }

    @Test func `at the bound of bytes in flight the connection is not read, QoS 0 too`() async throws {
        var limits = MQTTFrontLimits()
        limits.bytesInFlightMax = 100
        let hub = try await TestHub(limits: limits)
        let client = try await TestClient.signedIn(hub)
        hub.events.mode = .held
        try await client.publish(String(repeating: "x", count: 200), id: 0)
        #expect(try await askToRead(client) == false)
        hub.events.release()
        await client.channel.testingEventLoop.run()
        #expect(try await client.inspect { !$0.readIsHeld && $0.bytesInFlight == 0 })
    }

    @Test func `a batch is cut at its bound`() async throws {
        var limits = MQTTFrontLimits()
        limits.batchBytesMax = 1000
        let hub = try await TestHub(limits: limits)
        let client = try await TestClient.signedIn(hub)
        let body = String(repeating: "x", count: 400)
        try await client.send(.telemetry(body, id: 1), .telemetry(body, id: 2), .telemetry(body, id: 3))
        for id in 1...3 { #expect(try await client.receive() == .puback(UInt16(id))) }
        #expect(hub.events.stored.count == 2)
    }

    @Test func `a client that does not take its answers is not read and ends by its keep-alive`() async throws {
        let hub = try await TestHub()
        let client = try await TestClient.signedIn(hub, keepAliveSeconds: 10)
        try await client.channel.testingEventLoop.executeInContext {
            client.channel.isWritable = false
            client.channel.pipeline.fireChannelWritabilityChanged()
        }
        #expect(try await askToRead(client) == false)
        await client.advance(seconds: 15)
        try await client.expectClosed()
    }

    @Test func `a client that stops taking its answers while the hub does not read it ends by its keep-alive, too`()
        async throws
    {
        var limits = MQTTFrontLimits()
        limits.connection.acknowledgementsPendingMax = 1
        let hub = try await TestHub(limits: limits)
        let client = try await TestClient.signedIn(hub, keepAliveSeconds: 10)
        hub.events.mode = .held
        try await client.publish()
        #expect(try await askToRead(client) == false)
        await client.advance(seconds: 100)
        #expect(await client.isOpen())
        try await client.channel.testingEventLoop.executeInContext {
            client.channel.isWritable = false
            client.channel.pipeline.fireChannelWritabilityChanged()
        }
        hub.events.release()
        await client.advance(seconds: 30)
        try await client.expectClosed()
    }

    @Test func `a client that takes its answers again is read again`() async throws {
        let hub = try await TestHub()
        let client = try await TestClient.signedIn(hub)
        try await client.channel.testingEventLoop.executeInContext { client.channel.isWritable = false }
        #expect(try await askToRead(client) == false)
        try await client.channel.testingEventLoop.executeInContext {
            client.channel.isWritable = true
            client.channel.pipeline.fireChannelWritabilityChanged()
        }
        #expect(try await client.inspect { !$0.readIsHeld })
    }

    private func desire(_ hub: TestHub, _ value: String) async throws {
        let body = ByteBuffer(string: #"{"properties":{"desired":{"a":"\#(value)"}}}"#)
        _ = try await hub.hub.twins.write(IdentityID(device: "d1"), body: body, replaces: false, ifMatch: nil)
    }

    @Test func `what the hub has to say to a client that reads slowly is not lost`() async throws {
        let hub = try await TestHub()
        let client = try await TestClient.signedIn(hub)
        try await client.send(
            .subscribe(1, "$iothub/twin/PATCH/properties/desired/#", "$iothub/methods/POST/#")
        )
        _ = try await client.receive()
        try await client.channel.testingEventLoop.executeInContext { client.channel.isWritable = false }
        for value in ["1", "2", "3"] { try await desire(hub, value) }
        let request = MethodRequest(name: "m", payload: ByteBuffer(), responseTimeoutSeconds: 5)
        let call = Task { try await hub.hub.methods.invoke(IdentityID(device: "d1"), request) }
        for version in 2...4 {
            let topic = String(buffer: try await client.receivePublish().topic)
            #expect(topic == "$iothub/twin/PATCH/properties/desired/?$version=\(version)")
        }
        #expect(String(buffer: try await client.receivePublish().topic).hasPrefix("$iothub/methods/POST/m/?$rid="))
        call.cancel()
        #expect(await client.isOpen())
    }

    @Test func `a client that takes nothing of what it asked to be told is closed, not buffered for without end`()
        async throws
    {
        var limits = MQTTFrontLimits()
        limits.bytesUnreadMax = 10_000
        let hub = try await TestHub(limits: limits)
        let client = try await TestClient.signedIn(hub)
        try await client.send(.subscribe(1, "$iothub/twin/PATCH/properties/desired/#"))
        _ = try await client.receive()
        try await client.channel.testingEventLoop.executeInContext { client.channel.isWritable = false }
        for _ in 1...3 { try await desire(hub, String(repeating: "x", count: 3000)) }
        #expect(await client.isOpen())
        // Whoever takes them in the end may be sent as much again.
        try await client.channel.testingEventLoop.executeInContext {
            client.channel.isWritable = true
            client.channel.pipeline.fireChannelWritabilityChanged()
            client.channel.isWritable = false
        }
        for _ in 1...3 { try await desire(hub, String(repeating: "x", count: 3000)) }
        #expect(await client.isOpen())
        try await desire(hub, String(repeating: "x", count: 3000))
        try await client.expectClosed()
    }

    @Test(arguments: [true, false], ["closes", "breaks off", "half closes"])
    func `mqtt 032 what waits undecoded when the client closes is taken, with the DISCONNECT that discards the will`(
        _ saysGoodbye: Bool,
        _ end: String
    ) async throws {
        var limits = MQTTFrontLimits()
        limits.connection.acknowledgementsPendingMax = 2
        let hub = try await TestHub(limits: limits)
        let topic = ByteBuffer(string: "devices/d1/messages/events/")
        let will = Connect.Will(topic: topic, payload: ByteBuffer(string: "will"))
        let client = try await TestClient.signedIn(hub, will: will)
        hub.events.mode = .held
        var bytes = ByteBuffer()
        for id in 1...4 { try Packet.telemetry("\(id)", id: UInt16(id)).encode(into: &bytes) }
        if saysGoodbye { try Packet.disconnect.encode(into: &bytes) }
        try await client.send(bytes)
        switch end {
        case "closes": try await client.cut()
        case "breaks off": client.channel.pipeline.fireErrorCaught(ChannelError.inputClosed)
        default: client.channel.pipeline.fireUserInboundEventTriggered(ChannelEvent.inputClosed)
        }
        try await client.expectClosed()
        hub.events.release()
        #expect(try hub.storedEvents().map(\.bodyText) == ["1", "2", "3", "4"] + (saysGoodbye ? [] : ["will"]))
    }

    // MARK: Storage that fails

    @Test func `while nothing can be stored the connection waits unread, and goes on when it can`() async throws {
        let hub = try await TestHub()
        let client = try await TestClient.signedIn(hub, keepAliveSeconds: 1)
        hub.events.mode = .failing(.storageFull)
        try await client.send(.telemetry("a", id: 1), .telemetry("b", id: 2))
        #expect(try await askToRead(client) == false)
        await client.advance(seconds: 20)
        #expect(await client.isOpen())
        #expect(hub.events.attempts > 10)
        #expect(try await client.receivedBytes().isEmpty)
        // What comes all the same waits its turn.
        try await client.publish("c", id: 3)
        hub.events.mode = .immediate
        await client.advance(seconds: 1)
        for id in 1...3 { #expect(try await client.receive() == .puback(UInt16(id))) }
        #expect(try hub.storedEvents().map(\.bodyText) == ["a", "b", "c"])
        #expect(try await client.inspect { !$0.readIsHeld && $0.stall == nil })
    }

    @Test func `messages that can't be stored for half a minute close the connection unacknowledged`() async throws {
        let hub = try await TestHub()
        let client = try await TestClient.signedIn(hub)
        hub.events.mode = .failing(.serviceUnavailable)
        try await client.publish()
        await client.advance(seconds: 29)
        #expect(await client.isOpen())
        await client.advance(seconds: 2)
        try await client.expectClosed()
        #expect(try await client.receivedBytes().isEmpty)
    }

    @Test func `batches that fail together are stored in order afterwards`() async throws {
        let hub = try await TestHub()
        let client = try await TestClient.signedIn(hub)
        hub.events.mode = .held
        try await client.publish("a", id: 1)
        try await client.publish("b", id: 2)
        #expect(hub.events.waitingCount == 2)
        hub.events.mode = .immediate
        hub.events.release(failing: .storageFull)
        await client.advance(seconds: 1)
        #expect(try await client.receive() == .puback(1))
        #expect(try await client.receive() == .puback(2))
        #expect(try hub.storedEvents().map(\.bodyText) == ["a", "b"])
    }

    @Test func `a subscription that can't be stored is never acknowledged`() async throws {
        let hub = try await TestHub()
        let client = try await TestClient.signedIn(hub)
        hub.subscriptions.fail()
        try await client.send(.subscribe(1, "devices/d1/messages/devicebound/#"))
        try await client.expectClosed()
        #expect(try await client.receivedBytes().isEmpty)
    }

    // MARK: Stopping

    @Test func `a hub that stops acknowledges what it has taken and closes`() async throws {
        let hub = try await TestHub()
        let client = try await TestClient.signedIn(hub)
        hub.events.mode = .held
        try await client.publish("a", id: 1)
        client.channel.pipeline.fireUserInboundEventTriggered(ChannelShouldQuiesceEvent())
        #expect(await client.isOpen())
        try await client.publish("late", id: 2)
        hub.events.release()
        #expect(try await client.receive() == .puback(1))
        try await client.expectClosed()
        #expect(try hub.storedEvents().map(\.bodyText) == ["a"])
    }

    @Test func `a hub that stops answers the requests about twins that it has taken, and closes`() async throws {
        let hub = try await TestHub()
        let client = try await TestClient.signedIn(hub)
        try await client.send(.subscribe(1, "$iothub/twin/res/#"))
        _ = try await client.receive()
        // All in one turn of the loop, so that no answer can come before the hub stops.
        try await client.channel.testingEventLoop.executeInContext {
            var bytes = ByteBuffer()
            let report = "$iothub/twin/PATCH/properties/reported/?$rid=1"
            try Packet.telemetry(#"{"a":1}"#, id: 0, topic: report).encode(into: &bytes)
            try Packet.telemetry("", id: 0, topic: "$iothub/twin/GET/?$rid=2").encode(into: &bytes)
            client.channel.pipeline.fireChannelRead(bytes)
            client.channel.pipeline.fireChannelReadComplete()
            client.channel.pipeline.fireUserInboundEventTriggered(ChannelShouldQuiesceEvent())
        }
        for topic in ["$iothub/twin/res/204/?$rid=1&$version=2", "$iothub/twin/res/200/?$rid=2"] {
            guard case .publish(let answer) = try await client.receive() else {
                Issue.record("The packet is no PUBLISH.")
                return
            }
            #expect(String(buffer: answer.topic) == topic)
        }
        try await client.expectClosed()
    }

    @Test func `a hub that stops closes idle connections at once`() async throws {
        let hub = try await TestHub()
        let idle = try await TestClient.signedIn(hub)
        let new = try await TestClient.open(hub)
        for client in [idle, new] {
            client.channel.pipeline.fireUserInboundEventTriggered(ChannelShouldQuiesceEvent())
            try await client.expectClosed()
        }
    }

    @Test func `an idle connection holds no buffers`() async throws {
        let hub = try await TestHub()
        let client = try await TestClient.signedIn(hub)
        for id in 1...200 { try await client.publish(id: UInt16(id)) }
        #expect(
            try await client.inspect {
                $0.received.capacity == 0 && $0.outbound.capacity == 0 && $0.batch == nil && $0.storeSteps.isEmpty
            }
        )
    }
}
