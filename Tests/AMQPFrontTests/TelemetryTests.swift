// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import AMQP
import Hub
import HubModel
import NIOCore
import NIOEmbedded
import Testing

@testable import AMQPFront

@MainActor
@Suite struct TelemetryTests {
    private let events = "devices/d1/messages/events"

    /// A message as Node and Java make it.
    private func full(_ body: String = #"{"t":21}"#) -> Message {
        var message = Message()
        message.messageAnnotations = [
            .symbol("iothub-interface-id"): .string("urn:azureiot:Security:SecurityAgent:1"),
            .symbol("dt-subject"): .string("thermostat"), .symbol("unknown"): .int(7),
        ]
        var properties = MessageProperties()
        properties.messageID = .string("m-1")
        properties.userID = ByteBuffer(string: "me")
        properties.to = "/devices/d1/messages/events"
        properties.correlationID = .string("c-1")
        properties.contentType = "application/json"
        properties.contentEncoding = "utf-8"
        properties.absoluteExpiryTime = 1_700_000_100_000
        message.properties = properties
        message.applicationProperties = [.string("alert"): .string("false"), .string("größe"): .string("ß")]
        message.body = .data(ByteBuffer(string: body))
        return message
    }

    private func batch(_ messages: [ByteBuffer]) -> ByteBuffer {
        var payload = ByteBuffer()
        for message in messages { payload.writeAMQPDataSection(message) }
        return payload
    }

    @Test func `amqp 044 a message reaches readers with its body and its properties`() async throws {
        let hub = try await DeviceHub()
        let client = try await DeviceClient.signedIn(hub)
        let link = try await client.sender(events)
        #expect(try await client.send(full(), on: link) == .accepted)
        let event = try #require(try hub.storedEvents().first)
        #expect(event.bodyText == #"{"t":21}"#)
        let properties = try #require(event.properties)
        #expect(properties.messageID == .string("m-1"))
        #expect(properties.correlationID == .string("c-1"))
        #expect(properties.userID == ByteBuffer(string: "me"))
        #expect(properties.to == "/devices/d1/messages/events")
        #expect(properties.contentType == "application/json")
        #expect(properties.contentEncoding == "utf-8")
        #expect(properties.absoluteExpiryTime == 1_700_000_100_000)
        #expect(event.applicationProperties?["alert"] == .string("false"))
        #expect(event.applicationProperties?["größe"] == .string("ß"))
        let annotations = try #require(event.messageAnnotations)
        #expect(annotations["iothub-connection-device-id"] == .string("d1"))
        #expect(annotations["iothub-message-source"] == .string("Telemetry"))
        // A component belongs to a model, and none was announced.
        #expect(annotations["dt-subject"] == nil)
        #expect(annotations["iothub-interface-id"] == .string("urn:azureiot:Security:SecurityAgent:1"))
        #expect(annotations["unknown"] == nil)
    }

    @Test func `amqp 044 a module's messages carry its id, and the model that its link announced`() async throws {
        let hub = try await DeviceHub()
        let client = try await DeviceClient.signedIn(hub, .m1)
        let link = try await client.sender(
            "devices/d1/modules/m1/messages/events",
            properties: [
                .symbol("com.microsoft:client-version"): .string("x/1"),
                .symbol("com.microsoft:model-id"): .string("dtmi:a:b;1"),
            ]
        )
        #expect(try await client.send(full(), on: link) == .accepted)
        let annotations = try #require(try hub.storedEvents().first?.messageAnnotations)
        #expect(annotations["iothub-connection-device-id"] == .string("d1"))
        #expect(annotations["iothub-connection-module-id"] == .string("m1"))
        #expect(annotations["dt-dataschema"] == .string("dtmi:a:b;1"))
        #expect(annotations["dt-subject"] == .string("thermostat"))
    }

    @Test func `amqp 045 a batch of three makes three events in order and one disposition`() async throws {
        let hub = try await DeviceHub()
        let client = try await DeviceClient.signedIn(hub)
        let link = try await client.sender(events)
        let before = client.frames.count
        let payload = batch(["a", "b", "c"].map { full($0).encoded })
        #expect(try await client.send(payload, on: link, format: 0x8001_3700) == .accepted)
        #expect(try hub.storedEvents().map(\.bodyText) == ["a", "b", "c"])
        let dispositions = client.frames.dropFirst(before).filter { if case .disposition = $0 { true } else { false } }
        #expect(dispositions.count == 1)
        #expect(hub.events.batchCount == 1)
    }

    @Test func `amqp 046 inner messages with sections in the order that devices write them are read`() async throws {
        let hub = try await DeviceHub()
        let client = try await DeviceClient.signedIn(hub)
        let link = try await client.sender(events)
        // properties, application-properties, annotations, data: as the C SDK does it.
        var inner = ByteBuffer()
        var properties = MessageProperties()
        properties.messageID = .string("m-1")
        properties.encode(into: &inner)
        inner.writeAMQPDescriptor(0x74)
        inner.writeAMQPMap([.string("k"): .string("v")])
        inner.writeAMQPDescriptor(0x72)
        inner.writeAMQPMap([.symbol("Diagnostic-Id"): .string("trace")])
        inner.writeAMQPDataSection(ByteBuffer(string: "body"))
        #expect(try await client.send(batch([inner]), on: link, format: 0x8001_3700) == .accepted)
        let event = try #require(try hub.storedEvents().first)
        #expect(event.properties?.messageID == .string("m-1"))
        #expect(event.applicationProperties?["k"] == .string("v"))
        #expect(event.messageAnnotations?["Diagnostic-Id"] == .string("trace"))
        #expect(event.bodyText == "body")
    }

    @Test(arguments: [true, false])
    func `amqp 047 content type and encoding are taken as symbol and as string`(_ isSymbol: Bool) async throws {
        let hub = try await DeviceHub()
        let client = try await DeviceClient.signedIn(hub)
        let link = try await client.sender(events)
        var payload = ByteBuffer()
        payload.writeAMQPComposite(0x73, count: 8) { buffer in
            for _ in 0..<6 { buffer.writeAMQPNull() }
            if isSymbol {
                buffer.writeAMQPSymbol("application/json")
                buffer.writeAMQPSymbol("utf-8")
            } else {
                buffer.writeAMQPString("application/json")
                buffer.writeAMQPString("utf-8")
            }
        }
        payload.writeAMQPDataSection(ByteBuffer(string: "{}"))
        #expect(try await client.send(payload, on: link) == .accepted)
        let properties = try #require(try hub.storedEvents().first?.properties)
        #expect(properties.contentType == "application/json")
        #expect(properties.contentEncoding == "utf-8")
    }

    @Test func `amqp 048 a uuid becomes a lower-case string, and other values text`() async throws {
        let hub = try await DeviceHub()
        let client = try await DeviceClient.signedIn(hub)
        let link = try await client.sender(events)
        var message = full()
        message.properties?.messageID = .uuid(AMQPUUID(high: 0x8F14_E45F_CEEA_467F, low: 0xA0F1_2B3C_4D5E_6F70))
        message.properties?.correlationID = .ulong(42)
        message.applicationProperties = [
            .string("n"): .uint(300), .string("i"): .int(-5), .string("b"): .bool(true), .string("none"): .null,
        ]
        #expect(try await client.send(message, on: link) == .accepted)
        let event = try #require(try hub.storedEvents().first)
        #expect(event.properties?.messageID == .string("8f14e45f-ceea-467f-a0f1-2b3c4d5e6f70"))
        #expect(event.properties?.correlationID == .string("42"))
        #expect(event.applicationProperties?["n"] == .string("300"))
        #expect(event.applicationProperties?["i"] == .string("-5"))
        #expect(event.applicationProperties?["b"] == .string("true"))
        #expect(event.applicationProperties?["none"] == .string(""))
    }

    @Test func `sections may be described by name`() async throws {
        let hub = try await DeviceHub()
        let client = try await DeviceClient.signedIn(hub)
        var payload = ByteBuffer(bytes: [0, 0xA3, 16])
        payload.writeString("amqp:data:binary")
        payload.writeBytes([0xA0, 1, 0x78])
        #expect(try await client.send(payload, on: try await client.sender(events)) == .accepted)
        #expect(try hub.storedEvents().count == 1)
        var unknown = ByteBuffer(bytes: [0, 0xA3, 6])
        unknown.writeString("a:b:cd")
        unknown.writeBytes([0xA0, 1, 0x78])
        #expect(try await client.send(unknown, on: try await client.sender(events)) != .accepted)
    }

    @Test func `what the hub says of a sender cannot be said by the sender`() async throws {
        let hub = try await DeviceHub()
        let client = try await DeviceClient.signedIn(hub)
        let link = try await client.sender(events)
        var message = full()
        let names = [
            "iothub-connection-device-id", "iothub-connection-module-id", "iothub-connection-auth-method",
            "iothub-enqueuedtime", "iothub-message-source", "dt-dataschema",
        ]
        message.applicationProperties = AMQPMap(names.map { .init(key: .string($0), value: .string("lie")) })
        message.messageAnnotations = AMQPMap(names.map { .init(key: .symbol($0), value: .string("lie")) })
        #expect(try await client.send(message, on: link) == .accepted)
        let event = try #require(try hub.storedEvents().first)
        #expect(event.applicationProperties == nil)
        #expect(!(event.messageAnnotations?.entries.contains { $0.value == .string("lie") } ?? true))
        #expect(event.messageAnnotations?["iothub-connection-device-id"] == .string("d1"))
    }

    @Test func `amqp 049 above 256 KiB a message is rejected and the link stays`() async throws {
        let hub = try await DeviceHub()
        let client = try await DeviceClient.signedIn(hub)
        let link = try await client.sender(events)
        let large = DeviceClient.telemetry(String(repeating: "x", count: 262_145))
        guard case .rejected(let error?) = try await client.send(large, on: link) else {
            Issue.record("not rejected")
            return
        }
        #expect(error.condition == .messageSizeExceeded)
        #expect(error.description == "Message is larger than 262144 bytes.")
        let most = DeviceClient.telemetry(String(repeating: "x", count: 262_144))
        #expect(try await client.send(most, on: link) == .accepted)
        // A batch counts as a whole, and none of it is stored.
        let half = DeviceClient.telemetry(String(repeating: "y", count: 140_000)).encoded
        let state = try await client.send(batch([half, half]), on: link, format: 0x8001_3700)
        guard case .rejected(let error?) = state else {
            Issue.record("not rejected")
            return
        }
        #expect(error.condition == .messageSizeExceeded)
        #expect(try await client.send(DeviceClient.telemetry("end"), on: link) == .accepted)
        #expect(try hub.storedEvents().map { $0.dataBody.readableBytes } == [262_144, 3])
    }

    @Test func `amqp 050 above 1 MiB the link is detached`() async throws {
        let hub = try await DeviceHub()
        let client = try await DeviceClient.signedIn(hub)
        let link = try await client.sender(events)
        _ = client.queue(DeviceClient.telemetry(String(repeating: "x", count: 1 << 20)).encoded, on: link)
        #expect(try await client.endOf(link) == .messageSizeExceeded)
        let again = try await client.sender(events)
        #expect(try await client.send(DeviceClient.telemetry("x"), on: again) == .accepted)
    }

    @Test func `amqp 051 amqp 020 three thousand messages on one session do not stall`() async throws {
        let hub = try await DeviceHub()
        let client = try await DeviceClient.signedIn(hub)
        let link = try await client.sender(events)
        let payload = DeviceClient.telemetry("x").encoded
        var sent = 0
        var last: UInt32 = 0
        while sent < 3000 {
            while sent < 3000, client.engine.canSend(on: link) {
                last = client.queue(payload, on: link)
                sent += 1
            }
            try await client.settle()
        }
        try await client.wait { client.state(of: last, on: link) == .accepted }
        #expect(try hub.storedEvents().count == 3000)
        let settled = client.events.filter { if case .disposition(_, _, .accepted, true) = $0 { true } else { false } }
        // And the token.
        #expect(settled.count == 3001)
    }

    @Test func `amqp 052 frames are put together, and an aborted delivery is dropped`() async throws {
        let hub = try await DeviceHub()
        let client = try await DeviceClient.signedIn(hub)
        let link = try await client.sender(events)
        let body = String(repeating: "0123456789", count: 15_000)
        #expect(try await client.send(DeviceClient.telemetry(body), on: link) == .accepted)
        #expect(try hub.storedEvents().map(\.bodyText) == [body])
        var frames = ByteBuffer()
        for isLast in [false, true] {
            Frame.write(to: &frames, channel: link.session.channel) { buffer in
                var transfer = Transfer(handle: link.handle)
                transfer.deliveryID = 2
                transfer.deliveryTag = ByteBuffer(string: "t")
                transfer.more = !isLast
                transfer.aborted = isLast
                transfer.encode(into: &buffer)
                if !isLast { buffer.writeImmutableBuffer(DeviceClient.telemetry("never").encoded) }
            }
        }
        try await client.sendRaw(frames)
        #expect(client.error(of: link) == nil)
        #expect(try hub.storedEvents().count == 1)
    }

    // MARK: Durability and load

    @Test func `nothing is accepted before it is durable, and what a read brings is one batch and one range`()
        async throws
    {
        let hub = try await DeviceHub()
        let client = try await DeviceClient.signedIn(hub)
        try await client.signIn(.d2)
        let one = try await client.sender(events)
        let two = try await client.sender("devices/d2/messages/events")
        hub.events.holdAppends()
        let payload = DeviceClient.telemetry("x").encoded
        var ids: [UInt32] = []
        for _ in 0..<10 { ids += [client.queue(payload, on: one), client.queue(payload, on: two)] }
        let before = client.frames.count
        try await client.settle()
        #expect(client.state(of: ids[0], on: one) == nil)
        #expect(hub.events.batchCount == 2)
        // On the loop, as a log completes what one of its commits holds.
        try await client.channel.testingEventLoop.executeInContext { hub.events.releaseAppends() }
        try await client.wait { client.state(of: ids[19], on: two) == .accepted }
        let ranges = client.frames.dropFirst(before).compactMap { frame -> ClosedRange<UInt32>? in
            guard case .disposition(let disposition) = frame else { return nil }
            return disposition.first...(disposition.last ?? disposition.first)
        }
        #expect(ranges == [ids[0]...ids[19]])
    }

    @Test func `a store that fails makes a rejection that may be tried again`() async throws {
        let hub = try await DeviceHub()
        let client = try await DeviceClient.signedIn(hub)
        let link = try await client.sender(events)
        hub.events.failAppends(HubError(.storageFull, "The disk is full."))
        guard case .rejected(let error?) = try await client.send(DeviceClient.telemetry("x"), on: link) else {
            Issue.record("not rejected")
            return
        }
        #expect(error.condition == .serverBusy)
        hub.events.failAppends(nil)
        #expect(try await client.send(DeviceClient.telemetry("x"), on: link) == .accepted)
    }

    @Test func `settled messages are stored and not answered`() async throws {
        let hub = try await DeviceHub()
        let client = try await DeviceClient.signedIn(hub)
        let link = try await client.sender(events, settled: true)
        let before = client.frames.count
        try await client.send(DeviceClient.telemetry("x"), on: link, settled: true)
        #expect(try hub.storedEvents().map(\.bodyText) == ["x"])
        let answers = client.frames.dropFirst(before).filter { if case .disposition = $0 { true } else { false } }
        #expect(answers.isEmpty)
    }

    @Test func `a connection with too much on its way to the log is not read until it is there`() async throws {
        var limits = AMQPFrontLimits()
        limits.bytesInFlightMax = 1_000
        let hub = try await DeviceHub(limits: limits)
        let client = try await DeviceClient.signedIn(hub)
        let link = try await client.sender(events)
        hub.events.holdAppends()
        _ = client.queue(DeviceClient.telemetry(String(repeating: "x", count: 2_000)).encoded, on: link)
        try await client.settle()
        #expect(try await isReadHeld(client.channel))
        hub.events.releaseAppends()
        try await client.settle()
        #expect(try await !isReadHeld(client.channel))
        #expect(try await client.send(DeviceClient.telemetry("y"), on: link) == .accepted)
    }

    private func isReadHeld(_ channel: NIOAsyncTestingChannel) async throws -> Bool {
        try await channel.testingEventLoop.executeInContext {
            channel.read()
            return try channel.pipeline.syncOperations.handler(type: AMQPHandler.self).readIsHeld
        }
    }

    @Test func `deliveries are answered although their link is gone by then`() async throws {
        let hub = try await DeviceHub()
        let client = try await DeviceClient.signedIn(hub)
        let link = try await client.sender(events)
        _ = try await client.sender(events, name: "other")
        hub.events.holdAppends()
        let id = client.queue(DeviceClient.telemetry("x").encoded, on: link)
        client.engine.detach(link)
        let before = client.frames.count
        try await client.settle()
        hub.events.releaseAppends()
        try await client.wait {
            client.frames.dropFirst(before).contains { frame in
                if case .disposition(let disposition) = frame { disposition.first == id } else { false }
            }
        }
        #expect(try hub.storedEvents().count == 1)
    }

    // MARK: Bad input

    @Test(
        arguments: [
            // Truncated, no descriptor, an unknown section, a map that lies, text that is no UTF-8.
            [0x00, 0x53, 0x75, 0xA0, 0x05, 0x01], [0x01, 0x02], [0x00, 0x53, 0x99, 0x40],
            [0x00, 0x53, 0x74, 0xC1, 0x02, 0x04, 0x40],
            [0x00, 0x53, 0x74, 0xC1, 0x07, 0x02, 0xA1, 0x01, 0xFF, 0xA1, 0x01, 0x61],
            [0x00, 0x53, 0x75, 0xB0, 0xFF, 0xFF, 0xFF, 0xFF], [0x00, 0x53, 0x73, 0xA1, 0x01, 0x61],
        ] as [[UInt8]]
    )
    func `what cannot be read is rejected, alone`(_ bytes: [UInt8]) async throws {
        let hub = try await DeviceHub()
        let client = try await DeviceClient.signedIn(hub)
        let link = try await client.sender(events)
        for (format, payload) in [
            (0, ByteBuffer(bytes: bytes)), (batchMessageFormat, batch([ByteBuffer(bytes: bytes)])),
        ] {
            guard case .rejected(let error?) = try await client.send(payload, on: link, format: format) else {
                Issue.record("not rejected")
                continue
            }
            #expect(error.condition == .decodeError)
        }
        #expect(try await client.send(DeviceClient.telemetry("x"), on: link) == .accepted)
        #expect(try hub.storedEvents().count == 1)
    }

    @Test func `more properties than allowed are refused`() async throws {
        var limits = AMQPFrontLimits()
        limits.propertiesPerMessageMax = 2
        let hub = try await DeviceHub(limits: limits)
        let client = try await DeviceClient.signedIn(hub)
        let link = try await client.sender(events)
        var message = full()
        message.applicationProperties?.append(.string("third"), .string("x"))
        guard case .rejected(let error?) = try await client.send(message, on: link) else {
            Issue.record("not rejected")
            return
        }
        #expect(error.condition == .messageSizeExceeded)
        #expect(try hub.storedEvents().isEmpty)
    }
}
