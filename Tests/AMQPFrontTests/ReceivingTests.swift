// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import AMQP
import AMQPFront
import Hub
import HubModel
import NIOCore
import NIOEmbedded
import Synchronization
import Testing

@Suite struct ReceivingTests {
    @Test(arguments: [
        "amqps://myhub.example.net/myhub/ConsumerGroups/$Default/Partitions/0",
        "/myhub/ConsumerGroups/$Default/Partitions/0",
        "myhub/consumergroups/$default/partitions/0",
        "amqps://localhost:5672/myhub/ConsumerGroups/$Default/Partitions/0",
    ])
    func `event_hubs 026 every form of source attaches, and the reply echoes source and target`(
        _ address: String
    ) throws {
        let client = try FrontFixture().reader()
        let attach = client.readerAttach(address)
        let link = try client.attach(attach)
        #expect(link.state == .attached)
        #expect(link.remoteAttach.source?.address == address)
        #expect(link.remoteAttach.source?.filter == attach.source?.filter)
        #expect(link.remoteAttach.target?.address == attach.target?.address)
        #expect(link.remoteAttach.initialDeliveryCount == 0)
        #expect(link.remoteAttach.senderSettleMode == .settled)
        #expect(link.remoteAttach.receiverSettleMode == .first)
        #expect(link.remoteAttach.maxMessageSize == 1_048_576)
    }

    @Test(arguments: ["apache.org:selector-filter:string", "selector", "jms-selector", "anything"])
    func `event_hubs 027 selectors are known by their descriptors and by their keys`(_ key: String) throws {
        let fixture = FrontFixture()
        try fixture.publish(["0", "1", "2"], device: "d")
        let client = try fixture.reader()
        let text = AMQPValue.string("amqp.annotation.x-opt-sequence-number > '1'")
        for descriptor in [
            AMQPValue.symbol("apache.org:selector-filter:string"), .ulong(0x137000000A), .ulong(0x468C00000004),
        ] {
            let map: AMQPMap = [.symbol(key): .described(descriptor, text)]
            let link = try client.attach(client.readerAttach(FrontClient.path(), filter: map), credit: 10)
            #expect(try client.numbers(link) == [2])
            client.engine.detach(link)
            client.run()
        }
        let bare = try client.attach(client.readerAttach(FrontClient.path(), filter: [.symbol(key): text]), credit: 10)
        #expect(try client.numbers(bare) == (key == "anything" ? [0, 1, 2] : [2]))
        // What is not honoured is not echoed.
        #expect((bare.remoteAttach.source?.filter == nil) == (key == "anything"))
    }

    @Test(arguments: [nil, AMQPMap()] as [AMQPMap?])
    func `without a filter reading begins with the first event`(_ filter: AMQPMap?) throws {
        let fixture = FrontFixture()
        try fixture.publish(["0", "1"], device: "d")
        let client = try fixture.reader()
        let link = try client.attach(client.readerAttach(FrontClient.path(), filter: filter), credit: 10)
        #expect(try client.numbers(link) == [0, 1])
    }

    @Test(arguments: [
        "amqp.annotation.x-opt-sequence-number > '1'", "amqp.annotation.x-opt-sequence-number > 1",
        "amqp.annotation.x-opt-sequence-number >'1'", "amqp.annotation.x-opt-sequence-number>1",
        "amqp.annotation.x-opt-sequence-number  >=  \"2\" ", "amqp.annotation.x-opt-sequence-number >= 2",
    ])
    func `event_hubs 028 quotes and blanks do not matter`(_ text: String) throws {
        let fixture = FrontFixture()
        try fixture.publish(["0", "1", "2"], device: "d")
        let client = try fixture.reader()
        #expect(try client.numbers(client.read(filter: text)) == [2])
    }

    @Test(arguments: ["x-opt-enqueued-time", "x-opt-enqueuedtimeutc"])
    func `event_hubs 029 both spellings of the time work`(_ name: String) throws {
        let fixture = FrontFixture()
        try fixture.publish(["old"], device: "d")
        fixture.advance(seconds: 10)
        try fixture.publish(["new"], device: "d")
        let client = try fixture.reader()
        #expect(try client.bodies(client.read(filter: "amqp.annotation.\(name) > 1700000000000")) == ["new"])
        #expect(try client.bodies(client.read(filter: "amqp.annotation.\(name) >= '1700000000000'")) == ["old", "new"])
    }

    @Test func `event_hubs 030 latest begins when the attach is processed`() throws {
        let fixture = FrontFixture()
        try fixture.publish(["before"], device: "d")
        let client = try fixture.reader()
        let latest = try client.read(filter: "amqp.annotation.x-opt-offset > '@latest'", credit: 0)
        let all = try client.read(filter: "amqp.annotation.x-opt-offset > '-1'")
        // Sent as soon as the reply is there, before the reader has given credit.
        try fixture.publish(["after"], device: "d")
        client.engine.grantCredit(10, to: latest)
        client.run()
        #expect(try client.bodies(latest) == ["after"])
        #expect(try client.bodies(all) == ["before", "after"])
    }

    @Test func `event_hubs 031 the two operators differ by exactly the event that is named`() throws {
        let fixture = FrontFixture()
        for body in ["0", "1", "2"] { try fixture.publish([body], device: "d") }
        let client = try fixture.reader()
        let offsets = try client.messages(client.read()).compactMap { $0.messageAnnotations?["x-opt-offset"]?.text }
        #expect(offsets.count == 3)
        #expect(try client.bodies(client.read(filter: "amqp.annotation.x-opt-offset > '\(offsets[1])'")) == ["2"])
        #expect(
            try client.bodies(client.read(filter: "amqp.annotation.x-opt-offset >= '\(offsets[1])'")) == ["1", "2"]
        )
        #expect(try client.bodies(client.read(filter: "amqp.annotation.x-opt-sequence-number > '1'")) == ["2"])
        #expect(try client.bodies(client.read(filter: "amqp.annotation.x-opt-sequence-number >= '1'")) == ["1", "2"])
    }

    @Test func `event_hubs 032 a position older than what is retained begins with the first event retained`() throws {
        let fixture = FrontFixture()
        for body in ["0", "1", "2"] { try fixture.publish([body], device: "d") }
        fixture.store.drop(frames: 2, partition: 0)
        let client = try fixture.reader()
        for filter in ["x-opt-offset > '0'", "x-opt-sequence-number > '0'", "x-opt-sequence-number >= '1'"] {
            let link = try client.read(filter: "amqp.annotation.\(filter)")
            #expect(try client.bodies(link) == ["2"])
            client.engine.detach(link)
            client.run()
        }
    }

    @Test(arguments: [
        "amqp.annotation.x-opt-offset > '5' OR 1=1", "amqp.annotation.x-opt-offset > '5",
        "amqp.annotation.x-opt-offset = '5'",
        "amqp.annotation.x-opt-offset < '5'", "x-opt-offset > '5'", "amqp.annotation.other > '5'", "",
        "amqp.annotation.x-opt-offset > ",
        "amqp.annotation.x-opt-offset > '5x'", "amqp.annotation.x-opt-offset > +5",
        "amqp.annotation.x-opt-offset > 99999999999999999999",
        "amqp.annotation.x-opt-offset > '5' ''", "amqp.annotation.x-opt-offset > '",
        "amqp.annotation.x-opt-offset => 5",
    ])
    func `event_hubs 033 anything but a filter is refused, not partly applied`(_ text: String) throws {
        let client = try FrontFixture().reader()
        let link = try client.read(filter: text)
        #expect(client.error(of: link)?.condition == .argumentError)
        #expect(client.fixture.hub.readers.count == 0)
    }

    @Test func `a position beyond the end is refused, the last one is not`() throws {
        let fixture = FrontFixture()
        try fixture.publish(["0", "1"], device: "d")
        let client = try fixture.reader()
        #expect(
            client.error(of: try client.read(filter: "amqp.annotation.x-opt-sequence-number > 2"))?.condition
                == .argumentError
        )
        #expect(
            client.error(of: try client.read(filter: "amqp.annotation.x-opt-offset > 999999"))?.condition
                == .argumentError
        )
        #expect(try client.read(filter: "amqp.annotation.x-opt-sequence-number > 1").state == .attached)
        #expect(try client.read(1, filter: "amqp.annotation.x-opt-sequence-number >= 0").state == .attached)
    }

    @Test func `event_hubs 034 settled transfers with consecutive ids reach a client that never settles`() throws {
        let fixture = FrontFixture(partitionCount: 1)
        for round in 0..<110 { try fixture.publish((0..<100).map { "\(round * 100 + $0)" }) }
        let client = try fixture.reader()
        let link = try client.read(credit: 300)
        let deliveries = client.deliveries(link)
        #expect(deliveries.count == 11_000)
        #expect(deliveries.filter(\.isSettled).count == 11_000)
        // One put-token answer came before on the same session.
        #expect(deliveries.map(\.id) == (1...11_000).map { UInt32($0) })
        #expect(try client.numbers(link) == (0..<11_000).map { Int64($0) })
    }

    @Test func `event_hubs 035 credit 0 and then 300 yields 300 events`() throws {
        let fixture = FrontFixture(partitionCount: 1)
        try fixture.publish((0..<1_000).map { "\($0)" })
        let client = try fixture.reader()
        let link = try client.attach(client.readerAttach(FrontClient.path()))
        client.engine.grantCredit(0, to: link)
        client.run()
        #expect(client.deliveries(link).isEmpty)
        client.engine.grantCredit(300, to: link)
        client.run()
        #expect(client.deliveries(link).count == 300)
        client.run()
        #expect(client.deliveries(link).count == 300)
        client.engine.grantCredit(300, to: link)
        client.run()
        #expect(client.deliveries(link).count == 600)
    }

    @Test func `event_hubs 036 a session window of 100 frames is respected`() throws {
        let fixture = FrontFixture(partitionCount: 1)
        try fixture.publish((0..<1_000).map { "\($0)" })
        var limits = AMQPLimits()
        limits.incomingWindow = 100
        let client = try fixture.reader(limits: limits)
        let link = try client.attach(client.readerAttach(FrontClient.path()))
        client.engine.grantCredit(10_000, to: link)
        // Only what the window allows is on the wire before the client opens it again.
        _ = try client.channel.writeInbound(client.engine.takeOutput(now: 0))
        fixture.loop.run()
        var transfers = 0
        while let bytes = try client.channel.readOutbound(as: ByteBuffer.self) {
            transfers +=
                FrontClient.performatives(bytes).filter { if case .transfer = $0 { true } else { false } }.count
            client.engine.receive(bytes, now: 0)
        }
        #expect(transfers <= 100 && transfers >= 90)
        while let event = client.engine.nextEvent() { client.events.append(event) }
        client.run()
        #expect(client.deliveries(link).count == 1_000)
    }

    @Test func `event_hubs 037 drain with seven credits and no events`() throws {
        let client = try FrontFixture().reader()
        let link = try client.attach(client.readerAttach(FrontClient.path()))
        client.engine.grantCredit(7, to: link, drain: true)
        client.run()
        guard case .flow(let flow)? = client.frames.last else {
            Issue.record("no flow")
            return
        }
        #expect(flow.deliveryCount == 7 && flow.linkCredit == 0 && flow.drain == true)
    }

    @Test func `drain sends what there is, cold events too, before the credit is used up`() throws {
        let fixture = FrontFixture(partitionCount: 1)
        try fixture.publish(["0", "1", "2"])
        fixture.store.evict(partition: 0)
        let client = try fixture.reader()
        let link = try client.attach(client.readerAttach(FrontClient.path()))
        client.engine.grantCredit(10, to: link, drain: true)
        client.run()
        #expect(try client.bodies(link) == ["0", "1", "2"])
        #expect(link.deliveryCount == 10 && link.credit == 0)
    }

    @Test func `event_hubs 038 an event larger than the client's frames arrives unchanged`() throws {
        let fixture = FrontFixture(partitionCount: 1)
        let body = String((0..<200_000).map { Character(Unicode.Scalar(UInt8(97 + $0 % 26))) })
        try fixture.publish([body, "next"])
        var limits = AMQPLimits()
        limits.frameBytesMax = 4_096
        let client = try fixture.reader(limits: limits)
        #expect(try client.bodies(client.read()) == [body, "next"])
    }

    @Test func `event_hubs 039 event_hubs 040 annotations have exactly their types and rise`() throws {
        let fixture = FrontFixture()
        try fixture.publish(["a", "b"], device: "d")
        try fixture.publish(["c"], device: "d")
        let client = try fixture.reader()
        let messages = try client.messages(client.read())
        var offsets: [Int64] = []
        for (index, message) in messages.enumerated() {
            let annotations = try #require(message.messageAnnotations)
            #expect(annotations.entries.allSatisfy { if case .symbol = $0.key { true } else { false } })
            #expect(annotations["x-opt-sequence-number"] == .long(Int64(index)))
            #expect(annotations["x-opt-enqueued-time"] == .timestamp(1_700_000_000_000))
            #expect(annotations["iothub-enqueuedtime"] == .timestamp(1_700_000_000_000))
            #expect(annotations["iothub-connection-device-id"] == .string("d"))
            #expect(annotations["iothub-connection-auth-generation-id"] == .string("638300000000000000"))
            #expect(annotations["iothub-message-source"] == .string("Telemetry"))
            guard case .string(let method)? = annotations["iothub-connection-auth-method"],
                case .string(let offset)? = annotations["x-opt-offset"]
            else {
                Issue.record("not strings")
                continue
            }
            #expect(method.contains(#""scope":"device","type":"sas","issuer":"iothub""#))
            #expect(annotations["x-opt-partition-key"] == nil && annotations["x-opt-publisher"] == nil)
            offsets.append(try #require(Int64(offset)))
        }
        #expect(messages.count == 3)
        #expect(zip(offsets, offsets.dropFirst()).allSatisfy { $0 < $1 })
    }

    @Test func `event_hubs 041 event_hubs 042 what a device sends stays below what the hub says`() throws {
        let fixture = FrontFixture()
        try fixture.publish(
            ["x"],
            device: "d",
            properties: [("iothub-connection-device-id", "forged"), ("alert", "false"), ("grüße", "ü")],
            system: [(.contentType, "application/json"), (.contentEncoding, "utf-8"), (.messageID, "m-1")]
        )
        try fixture.publish(["y"], device: "d")
        let client = try fixture.reader()
        let link = try client.read()
        let messages = try client.messages(link)
        #expect(messages[0].messageAnnotations?["iothub-connection-device-id"] == .string("d"))
        let ids = messages[0].messageAnnotations?.entries.filter { $0.key.text == "iothub-connection-device-id" }
        #expect(ids?.count == 1)
        #expect(messages[0].applicationProperties?["alert"] == .string("false"))
        #expect(messages[0].applicationProperties?["grüße"] == .string("ü"))
        #expect(messages[0].properties?.contentType == "application/json")
        #expect(messages[0].properties?.contentEncoding == "utf-8")
        #expect(messages[0].properties?.messageID == .string("m-1"))
        #expect(messages[1].properties?.contentType == nil && messages[1].properties?.contentEncoding == nil)
        let sections = try MessageSections(payload: client.deliveries(link)[0].payload)
        var list = AMQPReader(try #require(sections.properties))
        guard case .list(let fields) = try list.readValue() else { return }
        #expect(fields[6] == .symbol("application/json") && fields[7] == .symbol("utf-8"))
    }

    @Test func `an empty body is a data section of no bytes`() throws {
        let fixture = FrontFixture()
        try fixture.publish([""], device: "d")
        let client = try fixture.reader()
        #expect(try client.messages(client.read()).map(\.body) == [.data(ByteBuffer())])
    }

    @Test func `event_hubs 045 event_hubs 046 the partition's state comes with each event, when asked for`() throws {
        let fixture = FrontFixture()
        try fixture.publish(["a", "b"], device: "d")
        let client = try fixture.reader()
        let asking = try client.attach(client.readerAttach(FrontClient.path(), metrics: true), credit: 10)
        let other = try client.attach(client.readerAttach(FrontClient.path()), credit: 10)
        let info = fixture.store.info(partition: 0)
        let messages = try client.messages(asking)
        #expect(messages.count == 2)
        for message in messages {
            #expect(
                message.deliveryAnnotations == [
                    .symbol("last_enqueued_sequence_number"): .long(1),
                    .symbol("last_enqueued_offset"): .string(String(info.lastOffset)),
                    .symbol("last_enqueued_time_utc"): .timestamp(1_700_000_000_000),
                    .symbol("runtime_info_retrieval_time_utc"): .timestamp(1_700_000_000_000),
                ]
            )
        }
        #expect(
            client.deliveries(asking)[0].payload.getInteger(
                at: client.deliveries(asking)[0].payload.readerIndex + 2,
                as: UInt8.self
            ) == 0x71
        )
        #expect(try client.messages(other).allSatisfy { $0.deliveryAnnotations == nil })
        #expect(asking.remoteAttach.offeredCapabilities?.contains("com.microsoft:georeplication") != true)
    }

    @Test func `event_hubs 049 readers of two groups both receive everything`() throws {
        let fixture = FrontFixture()
        let client = try fixture.reader()
        let (one, two) = (try client.read(), try client.read(group: "SECOND"))
        for body in ["a", "b", "c"] { try fixture.publish([body], device: "d") }
        client.run()
        #expect(try client.bodies(one) == ["a", "b", "c"])
        #expect(try client.bodies(two) == ["a", "b", "c"])
    }

    @Test func `cold events are read off the loop and followed by resident ones`() throws {
        let fixture = FrontFixture(partitionCount: 1)
        try fixture.publish((0..<50).map { "\($0)" })
        fixture.store.evict(partition: 0)
        try fixture.publish((50..<60).map { "\($0)" })
        let client = try fixture.reader()
        let link = try client.read()
        #expect(try client.numbers(link) == (0..<60).map { Int64($0) })
        #expect(fixture.store.state.withLock { $0.coldReads } == 1)
        try fixture.publish(["60"])
        client.run()
        #expect(client.deliveries(link).count == 61)
    }

    @Test func `an event that arrives while a cold read is under way is not missed`() throws {
        let fixture = FrontFixture(partitionCount: 1)
        fixture.store.state.withLock { $0.holdsColdReads = true }
        try fixture.publish(["0"])
        fixture.store.evict(partition: 0)
        let client = try fixture.reader()
        let link = try client.read()
        #expect(client.deliveries(link).isEmpty)
        try fixture.publish(["1"])
        for promise in fixture.store.state.withLock({ $0.held }) { promise.succeed() }
        client.run()
        #expect(try client.bodies(link) == ["0", "1"])
    }

    @Test func `a reader whose socket does not take more waits, and holds no more than a slice`() throws {
        let fixture = FrontFixture(partitionCount: 1)
        try fixture.publish((0..<2_000).map { _ in String(repeating: "x", count: 500) })
        let client = try fixture.reader()
        client.channel.isWritable = false
        let link = try client.attach(client.readerAttach(FrontClient.path()), credit: 5_000)
        client.channel.pipeline.fireChannelWritabilityChanged()
        client.run()
        #expect(client.deliveries(link).isEmpty)
        client.channel.isWritable = true
        client.channel.pipeline.fireChannelWritabilityChanged()
        client.run()
        #expect(client.deliveries(link).count == 2_000)
    }
}
