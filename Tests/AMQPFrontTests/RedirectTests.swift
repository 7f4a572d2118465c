// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import AMQP
import AMQPFront
import NIOCore
import NIOEmbedded
import Testing

/// Readers that know only the hub's own address of its events.
@Suite struct RedirectTests {
    static func attach(_ client: FrontClient, _ address: String, _ role: LinkRole = .receiver) throws -> Link {
        var attach = Attach(name: client.nextName(), handle: 0, role: role)
        attach.senderSettleMode = .settled
        attach.receiverSettleMode = .second
        attach.source = Source(address: address)
        attach.target = Target(address: address)
        return try client.attach(attach)
    }

    @Test(arguments: [
        ("messages/events/$management", "/$management"),
        ("/messages/events/ConsumerGroups/$Default/Partitions/0", "/ConsumerGroups/$Default/Partitions/0"),
        ("amqps://myhub.example.net/messages/events/", "/"), ("amqps://myhub.example.net/messages/events", ""),
        ("amqps://myhub.example.net:5671/Messages/Events/$management", "/$management"),
    ]) func `amqp 073 amqp 074 amqp 075 a reader is told where the events are, with the rest of its path`(
        _ address: String,
        _ rest: String
    ) throws {
        let client = try FrontFixture().reader()
        for role in [LinkRole.receiver, .sender] {
            let link = try Self.attach(client, address, role)
            let error = try #require(client.error(of: link))
            #expect(error.condition == .linkRedirect && error.description == nil)
            #expect(error.info?["hostname"] == .string("myhub.example.net"))
            #expect(error.info?["network-host"] == .string("myhub.example.net"))
            #expect(error.info?["port"] == .int(5671))
            let target = try #require(error.info?["address"]?.text)
            #expect(target == "amqps://myhub.example.net:5671/myhub" + rest)
            if rest.hasSuffix("$management") { #expect(target.contains(#/5671/(.*)/\$management/#)) }
            if rest.contains("ConsumerGroups") { #expect(target.contains(#/:\d+/.*/ConsumerGroups/#)) }
            guard case .attach(let answer)? = client.frames.dropLast().last, case .detach? = client.frames.last else {
                Issue.record("no attach and detach")
                continue
            }
            #expect(answer.source == nil && answer.target == nil && answer.maxMessageSize == 262_144)
            #expect(answer.senderSettleMode == .settled && answer.receiverSettleMode == .second)
            #expect(answer.initialDeliveryCount == (role == .receiver ? 0 : nil))
        }
    }

    @Test func `the answer and the detach of a refusal are two writes`() throws {
        let client = try FrontFixture().reader()
        var attach = Attach(name: "rx", handle: 3, role: .receiver)
        attach.source = Source(address: "messages/events/$management")
        attach.target = Target(address: "x")
        _ = try client.engine.attach(attach, on: client.session())
        try client.channel.writeInbound(client.engine.takeOutput(now: 0))
        var writes: [Int] = []
        while let bytes = try client.channel.readOutbound(as: ByteBuffer.self) {
            writes.append(FrontClient.performatives(bytes).count)
        }
        #expect(writes == [1, 1])
    }

    @Test func `where the events are is told to those who may read them`() throws {
        let fixture = FrontFixture()
        let client = try fixture.client()
        let link = try Self.attach(client, "messages/events/$management")
        #expect(client.error(of: link)?.condition == .unauthorizedAccess)
        #expect(try client.putToken(fixture.token("myhub.example.net/messages/events", hubDialect: true)) == 200)
        #expect(client.error(of: try Self.attach(client, "messages/events/"))?.condition == .linkRedirect)
    }
}
