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

/// Services that receive what became of their commands, and what was uploaded.
@Suite struct FeedbackTests {
    static func attach(
        _ client: FrontClient,
        _ address: String = "/messages/serviceBound/feedback",
        credit: UInt32 = 10,
        settle: ReceiverSettleMode = .first,
        senderSettle: SenderSettleMode = .mixed
    ) throws -> Link {
        var attach = Attach(name: client.nextName("feedback"), handle: 0, role: .receiver)
        attach.source = Source(address: address)
        attach.target = Target(address: "here")
        attach.receiverSettleMode = settle
        attach.senderSettleMode = senderSettle
        let link = try client.attach(attach)
        if credit > 0 { client.engine.grantCredit(credit, to: link) }
        client.run()
        return link
    }

    /// Lets the hub's timers run.
    private func wait(_ fixture: FrontFixture, _ clients: FrontClient...) {
        for _ in 0..<3 {
            fixture.advance(seconds: 1)
            for client in clients { client.run() }
        }
    }

    @Test(arguments: ["/messages/serviceBound/feedback", "amqps://myhub.example.net/messages/servicebound/feedback"])
    func `amqp 070 messages 034 messages 036 a batch has its tag, annotation, properties and records`(
        _ address: String
    ) throws {
        let fixture = FrontFixture()
        fixture.commands.addFeedback(["c2d-42"])
        let client = try fixture.service()
        let link = try Self.attach(client, address)
        let delivery = try #require(client.deliveries(link).first)
        #expect(delivery.tag.readableBytes == 16 && !delivery.isSettled)
        let message = try Message(payload: delivery.payload)
        #expect(message.messageAnnotations == [.symbol("iothub-enqueuedtime"): .timestamp(1_700_000_000_000)])
        #expect(message.properties?.contentType == "application/vnd.microsoft.iothub.feedback.json")
        #expect(message.properties?.userID == ByteBuffer(string: "myhub"))
        #expect(message.properties?.messageID?.text?.utf8.count == 36)
        let text = """
            [{"originalMessageId":"c2d-42","description":"Success","deviceGenerationId":"638300000000000000",\
            "deviceId":"dev1","enqueuedTimeUtc":"2023-11-14T22:13:25.1230000Z","statusCode":"Success"}]
            """
        #expect(message.body == .data(ByteBuffer(string: text)))
        #expect(message.applicationProperties == nil)
        #expect(link.remoteAttach.maxMessageSize == 262_144)
    }

    @Test(arguments: FeedbackStatus.allCases)
    func `messages 035 the description of a record is its status`(_ status: FeedbackStatus) throws {
        let record = FeedbackRecord(
            messageID: "ü\u{1F600}",
            device: "d",
            generationID: "g",
            status: status,
            milliseconds: 0
        )
        let text = String(buffer: FeedbackRecord.document([record, record]))
        #expect(
            text.contains("\"description\":\"\(status.rawValue)\"")
                && text.contains("\"statusCode\":\"\(status.rawValue)\"")
        )
        #expect(text.contains("\"originalMessageId\":\"\\u00fc\\ud83d\\ude00\""))
        #expect(text.utf8.allSatisfy { $0 < 0x80 } && text.hasPrefix("[{") && text.hasSuffix("}]"))
    }

    @Test(arguments: [
        (DeliveryState.accepted, CommandOutcome.completed), (.released, .abandoned), (.rejected(nil), .rejected),
        (.modified(deliveryFailed: true, undeliverableHere: nil, annotations: nil), .abandoned),
    ]) func `a batch is settled by the outcome, and a peer that waits is told accepted`(
        _ state: DeliveryState,
        _ outcome: CommandOutcome
    ) throws {
        let fixture = FrontFixture()
        fixture.commands.addFeedback(["a"])
        let client = try fixture.service()
        let link = try Self.attach(client, credit: 1, settle: .second)
        let delivery = try #require(client.deliveries(link).first)
        let disposition = Disposition(role: .receiver, first: delivery.id, settled: false, state: state)
        client.send(.disposition(disposition), on: link.session)
        #expect(fixture.commands.settled == [outcome])
        let answers = client.frames.compactMap { frame -> Disposition? in
            if case .disposition(let answer) = frame, answer.role == .sender { answer } else { nil }
        }
        #expect(
            answers == [
                Disposition(role: .sender, first: delivery.id, last: delivery.id, settled: true, state: .accepted)
            ]
        )
    }

    @Test func `a settled disposition has no answer, and only outcomes count`() throws {
        let fixture = FrontFixture()
        fixture.commands.addFeedback(["a"])
        let client = try fixture.service()
        let link = try Self.attach(client)
        let id = try #require(client.deliveries(link).first).id
        client.send(
            .disposition(
                Disposition(role: .receiver, first: id, settled: false, state: .received(section: 0, offset: 0))
            ),
            on: link.session
        )
        #expect(fixture.commands.settled.isEmpty)
        client.engine.settle(id, on: link.session, .accepted)
        client.run()
        #expect(fixture.commands.settled == [.completed])
        #expect(!client.frames.contains { if case .disposition(let d) = $0 { d.role == .sender } else { false } })
    }

    @Test func `settling after the lock was lost is answered with message-lock-lost`() throws {
        let fixture = FrontFixture()
        fixture.commands.addFeedback(["a"])
        let client = try fixture.service()
        let link = try Self.attach(client, settle: .second)
        let id = try #require(client.deliveries(link).first).id
        fixture.commands.loseLocks()
        client.send(
            .disposition(Disposition(role: .receiver, first: id, settled: false, state: .accepted)),
            on: link.session
        )
        let states = client.frames.compactMap { frame -> DeliveryState? in
            if case .disposition(let answer) = frame, answer.role == .sender { answer.state } else { nil }
        }
        #expect(CommandSenderTests.condition(states.last) == "com.microsoft:message-lock-lost")
        #expect(link.state == .attached)
    }

    @Test func `amqp 072 two receivers never hold one batch, and what one leaves the other gets`() throws {
        let fixture = FrontFixture()
        for index in 0..<4 { fixture.commands.addFeedback(["m\(index)"]) }
        let (one, two) = (try fixture.service(), try fixture.service())
        let first = try Self.attach(one, credit: 2)
        let second = try Self.attach(two, credit: 1)
        #expect(one.deliveries(first).count == 2 && two.deliveries(second).count == 1)
        one.channel.close(promise: nil)
        fixture.loop.run()
        #expect(fixture.commands.settled == [.released, .released])
        two.engine.grantCredit(5, to: second)
        two.run()
        wait(fixture, two)
        let ids = try two.bodies(second).map { $0.split(separator: "\"")[3] }
        #expect(Set(ids) == ["m0", "m1", "m2", "m3"] && ids.count == 4)
    }

    @Test func `nothing is locked without credit, and drain without feedback uses the credit up`() throws {
        let fixture = FrontFixture()
        let client = try fixture.service()
        let link = try Self.attach(client, credit: 0)
        fixture.commands.addFeedback(["a"])
        wait(fixture, client)
        #expect(fixture.commands.state.withLock { $0.lockCount } == 0)
        client.engine.grantCredit(1, to: link)
        client.run()
        #expect(client.deliveries(link).count == 1)
        client.engine.grantCredit(5, to: link, drain: true)
        client.run()
        #expect(link.credit == 0)
    }

    @Test func `a receiver that wants everything settled completes at once`() throws {
        let fixture = FrontFixture()
        fixture.commands.addFeedback(["a"])
        let client = try fixture.service()
        let link = try Self.attach(client, senderSettle: .settled)
        #expect(client.deliveries(link).first?.isSettled == true)
        #expect(fixture.commands.settled == [.completed])
    }

    @Test(arguments: ["/messages/serviceBound/filenotifications", "/messages/servicebound/fileuploadnotifications"])
    func `file notifications may be waited for`(_ address: String) throws {
        let client = try FrontFixture().service()
        let link = try Self.attach(client, address)
        #expect(link.state == .attached && link.remoteAttach.maxMessageSize == 262_144)
        client.engine.grantCredit(3, to: link, drain: true)
        client.run()
        #expect(link.credit == 0 && client.deliveries(link).isEmpty)
    }
}
