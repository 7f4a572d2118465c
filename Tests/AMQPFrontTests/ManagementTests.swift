// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import AMQP
import AMQPFront
import Hub
import HubModel
import NIOCore
import Testing

@Suite struct ManagementTests {
    static func read(
        _ type: String = "com.microsoft:eventhub",
        name: String? = "myhub",
        partition: String? = nil,
        id: AMQPValue? = .ulong(0),
        operation: String = "READ"
    ) -> Message {
        var message = Message()
        message.properties = MessageProperties()
        message.properties?.messageID = id
        var properties: AMQPMap = [.string("operation"): .string(operation), .string("type"): .string(type)]
        if let name { properties.append(.string("name"), .string(name)) }
        if let partition { properties.append(.string("partition"), .string(partition)) }
        message.applicationProperties = properties
        return message
    }

    static func map(_ message: Message?) -> AMQPMap? {
        if case .value(.map(let map))? = message?.body { map } else { nil }
    }

    @Test func `event_hubs 017 the hub's properties have exactly these keys and types`() throws {
        let client = try FrontFixture().reader()
        let map = Self.map(try client.request(Self.read(), to: "$management"))
        #expect(
            map == [
                .string("name"): .string("myhub"), .string("type"): .string("com.microsoft:eventhub"),
                .string("created_at"): .timestamp(1_600_000_000_000), .string("partition_count"): .int(4),
                .string("partition_ids"): .array([.string("0"), .string("1"), .string("2"), .string("3")]),
            ]
        )
    }

    @Test func `event_hubs 018 a partition's properties have exactly these keys and types`() throws {
        let fixture = FrontFixture()
        let partition = try fixture.publish(["a", "b", "c"], device: "d")
        let client = try fixture.reader()
        let request = Self.read("com.microsoft:partition", partition: String(partition))
        let info = fixture.store.info(partition: partition)
        #expect(info.lastOffset > 0)
        #expect(
            Self.map(try client.request(request, to: "$management")) == [
                .string("name"): .string("myhub"), .string("type"): .string("com.microsoft:partition"),
                .string("partition"): .string("0"), .string("begin_sequence_number"): .long(0),
                .string("last_enqueued_sequence_number"): .long(2),
                .string("last_enqueued_offset"): .string(String(info.lastOffset)),
                .string("last_enqueued_time_utc"): .timestamp(1_700_000_000_000),
                .string("is_partition_empty"): .bool(false),
            ]
        )
    }

    @Test(arguments: [AMQPValue.uuid(AMQPUUID(high: 1, low: 2)), .ulong(0), .ulong(1), .string("id")])
    func `event_hubs 019 event_hubs 021 the answer has the request's id in its type, and an int status`(
        _ id: AMQPValue
    ) throws {
        let client = try FrontFixture().reader()
        let answer = try client.request(Self.read(id: id), to: "$management")
        #expect(answer?.properties?.correlationID == id)
        #expect(answer?.applicationProperties?["status-code"] == .int(200))
        let (_, receiver) = try client.pair("$management")
        let payload = try #require(client.deliveries(receiver).last?.payload)
        let bytes: [UInt8] = [0x71, 0, 0, 0, 200]
        let all = Array(payload.readableBytesView)
        #expect((0..<all.count - 5).contains { all[$0..<$0 + 5].elementsEqual(bytes) })
    }

    @Test func `event_hubs 020 the disposition of a request precedes the answer`() throws {
        let client = try FrontFixture().reader()
        _ = try client.pair("$management")
        let before = client.frames.count
        _ = try client.request(Self.read(), to: "$management")
        let frames = client.frames.dropFirst(before)
        let disposition = frames.firstIndex { if case .disposition(let d) = $0 { d.state == .accepted } else { false } }
        let transfer = frames.firstIndex { if case .transfer = $0 { true } else { false } }
        #expect(try #require(disposition) < (try #require(transfer)))
    }

    @Test func `event_hubs 022 requests without token, reply-to or body succeed, as do those with them`() throws {
        let fixture = FrontFixture()
        let client = try fixture.reader()
        #expect(try client.request(Self.read(), to: "$management")?.applicationProperties?["status-code"] == .int(200))
        for body in [Message.Body.value(.null), .data(ByteBuffer(string: "[]"))] {
            var message = Self.read()
            message.body = body
            message.properties?.replyTo = "$management"
            message.applicationProperties?.append(.string("security_token"), .string(fixture.token()))
            #expect(try client.request(message, to: "$management")?.applicationProperties?["status-code"] == .int(200))
        }
        var bad = Self.read()
        bad.applicationProperties?.append(
            .string("security_token"),
            .string("SharedAccessSignature sr=x&sig=y&se=1&skn=service")
        )
        #expect(try client.request(bad, to: "$management")?.applicationProperties?["status-code"] == .int(401))
    }

    @Test(arguments: [
        "$management", "myhub/$management", "/MyHub/$management", "amqps://myhub.example.net:5671/myhub/$management",
    ])
    func `event_hubs 023 every form of the node's address works`(_ address: String) throws {
        let client = try FrontFixture().reader()
        #expect(try client.request(Self.read(), to: address)?.applicationProperties?["status-code"] == .int(200))
    }

    @Test func `event_hubs 024 an unknown name or partition gives 404 with the text that clients look for`() throws {
        let client = try FrontFixture().reader()
        for message in [
            Self.read(name: "nope"), Self.read("com.microsoft:partition", partition: "4"),
            Self.read("com.microsoft:partition", partition: "00"), Self.read("com.microsoft:partition"),
        ] {
            let answer = try client.request(message, to: "$management")
            #expect(answer?.applicationProperties?["status-code"] == .int(404))
            #expect(answer?.applicationProperties?["error-condition"] == .symbol("amqp:not-found"))
            let text = answer?.applicationProperties?["status-description"]?.text ?? ""
            #expect(text.contains("The messaging entity '") && text.contains("' could not be found."))
        }
    }

    @Test func `event_hubs 025 an empty partition has a time all the same`() throws {
        let client = try FrontFixture().reader()
        let map = Self.map(try client.request(Self.read("com.microsoft:partition", partition: "3"), to: "$management"))
        #expect(map?["is_partition_empty"] == .bool(true))
        #expect(map?["last_enqueued_time_utc"] == .timestamp(-62_135_596_800_000))
        #expect(map?["begin_sequence_number"] == .long(0))
        #expect(map?["last_enqueued_sequence_number"] == .long(-1))
        #expect(map?["last_enqueued_offset"] == .string("-1"))
    }

    @Test func `an unknown type gives 400, an unknown operation a rejection and no answer`() throws {
        let client = try FrontFixture().reader()
        let answer = try client.request(Self.read("com.microsoft:other"), to: "$management")
        #expect(answer?.applicationProperties?["status-code"] == .int(400))
        #expect(try client.request(Self.read(operation: "UPDATE"), to: "$management") == nil)
        let states = client.events.compactMap { if case .disposition(_, _, let state?, _) = $0 { state } else { nil } }
        #expect(states.last == .rejected(AMQPError(.notAllowed, "Invalid command 'UPDATE'.")))
    }

    @Test func `answers wait for credit, and no more than allowed`() throws {
        var limits = AMQPFrontLimits()
        limits.waitingResponsesMax = 2
        let client = try FrontFixture(limits: limits).reader()
        var receiver = Attach(name: "r", handle: 0, role: .receiver)
        receiver.source = Source(address: "$management")
        receiver.target = Target(address: "r")
        let receiving = try client.attach(receiver)
        var sender = Attach(name: "s", handle: 0, role: .sender)
        sender.target = Target(address: "$management")
        let sending = try client.attach(sender)
        for _ in 0..<3 { client.engine.send(on: sending, settled: false) { Self.read().encode(into: &$0) } }
        client.run()
        #expect(client.deliveries(receiving).isEmpty)
        let states = client.events.compactMap {
            if case .disposition(let link, _, let state?, _) = $0, link === sending { state } else { nil }
        }
        #expect(states.dropLast() == [.accepted, .accepted])
        guard case .rejected(let error?)? = states.last else {
            Issue.record("not rejected")
            return
        }
        #expect(error.condition == .resourceLimitExceeded)
        client.engine.grantCredit(5, to: receiving)
        client.run()
        #expect(client.deliveries(receiving).count == 2)
    }
}
