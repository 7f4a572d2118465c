// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import AMQP
import NIOCore
import Testing

@Suite struct LinkTests {
    @Test func `amqp 025 amqp 026 an accepted attach mirrors the link`() throws {
        let pair = EnginePair()
        let session = try pair.session()
        let (ours, _) = try pair.link(.receiver, on: session)
        let reply = ours.remoteAttach
        #expect(reply.role == .sender)
        #expect(reply.name == "link")
        #expect(reply.source?.address == "node")
        #expect(reply.target != nil)
        #expect(reply.initialDeliveryCount == 0)
        #expect(reply.maxMessageSize == 1_048_576)
    }

    @Test func `amqp 027 a refusal is an attach without termini, then a detach`() throws {
        let pair = EnginePair()
        pair.onAttach = { engine, link in engine.refuse(link, AMQPError(.notFound, "Not here.")) }
        let session = try pair.session()
        let (ours, _) = try pair.link(.receiver, on: session)
        guard case .attach(let attach)? = pair.fromServer.dropLast().last,
            case .detach(let detach)? = pair.fromServer.last
        else {
            Issue.record("no attach and detach")
            return
        }
        #expect(attach.source == nil && attach.target == nil)
        #expect(attach.initialDeliveryCount == 0)
        #expect(detach.closed == true && detach.error?.condition == .notFound)
        guard case .detached(let link, let error)? = pair.clientEvents.last else {
            Issue.record("the client does not know")
            return
        }
        #expect(link === ours && error?.condition == .notFound)
        #expect(!pair.server.isClosed && session.state == .active)
    }

    @Test func `amqp 031 amqp 032 names are scoped by session and free after detach`() throws {
        let pair = EnginePair()
        let first = try pair.session()
        let second = try #require(pair.client.begin())
        pair.run()
        let (one, _) = try pair.link(.sender, name: "same", on: first)
        let (two, _) = try pair.link(.sender, name: "same", on: second)
        #expect(one.state == .attached && two.state == .attached)
        let (duplicate, _) = try pair.link(.sender, name: "same", on: first)
        #expect(duplicate.state == .detached)
        pair.client.detach(one)
        pair.run()
        let (again, _) = try pair.link(.sender, name: "same", on: first)
        #expect(again.state == .attached)
    }

    @Test func `event_hubs 037 amqp 033 drain without messages uses up the credit`() throws {
        let pair = EnginePair()
        let session = try pair.session()
        let (ours, theirs) = try pair.link(.receiver, on: session)
        pair.client.grantCredit(7, to: ours, drain: true)
        pair.run()
        #expect(theirs.isDraining)
        pair.server.drained(theirs)
        pair.run()
        guard case .flow(let flow)? = pair.fromServer.last else {
            Issue.record("no flow")
            return
        }
        #expect(flow.deliveryCount == 7 && flow.linkCredit == 0 && flow.drain == true)
        #expect(ours.credit == 0 && ours.deliveryCount == 7)
    }

    @Test func `amqp 034 event_hubs 035 credit bounds what is sent`() throws {
        let pair = EnginePair()
        let session = try pair.session()
        let (ours, theirs) = try pair.link(.receiver, on: session)
        pair.client.grantCredit(0, to: ours)
        pair.run()
        #expect(!pair.server.canSend(on: theirs))
        pair.client.grantCredit(300, to: ours)
        pair.run()
        var sent = 0
        while pair.server.canSend(on: theirs) {
            pair.server.send("x", on: theirs)
            sent += 1
        }
        #expect(sent == 300)
        // Credit that crosses with messages under way counts from the sender's count.
        pair.client.grantCredit(300, to: ours)
        pair.run()
        #expect(theirs.credit == 0)
        pair.client.grantCredit(10, to: ours)
        pair.run()
        #expect(theirs.credit == 10)
    }

    @Test func `messages without credit are tolerated for a while, then the link is detached`() throws {
        var limits = AMQPLimits()
        limits.creditOverrunMax = 3
        let engine = ConnectionTests.opened(limits)
        _ = engine.receive(.begin(Begin(nextOutgoingID: 0, incomingWindow: 1, outgoingWindow: 1)))
        var attach = Attach(name: "a", handle: 0, role: .sender)
        attach.initialDeliveryCount = 0
        guard case .attached(let link)? = engine.receive(.attach(attach)).first else { return }
        engine.accept(link, with: engine.reply(to: link))
        var errors: [AMQPError?] = []
        for id in 0..<4 as Range<UInt32> {
            var transfer = Transfer(handle: 0)
            transfer.deliveryID = id
            transfer.deliveryTag = ByteBuffer(string: "t")
            for event in engine.receive(.transfer(transfer), payload: ByteBuffer(hex: "00 53 77 40")) {
                if case .detached(_, let error) = event { errors.append(error) }
            }
        }
        #expect(errors.map { $0?.condition } == [.transferLimitExceeded])
        #expect(link.session.state == .active)
    }

    @Test func `a flow that comes before the attach is answered is not lost`() throws {
        let pair = EnginePair()
        var waiting: Link?
        pair.onAttach = { _, link in waiting = link }
        let session = try pair.session()
        _ = try pair.link(.receiver, on: session)
        let link = try #require(waiting)
        var flow = Flow(nextIncomingID: 1, incomingWindow: 10, nextOutgoingID: 0, outgoingWindow: 1)
        flow.handle = 0
        flow.linkCredit = 5
        _ = pair.server.receive(.flow(flow))
        pair.server.accept(link, with: pair.server.reply(to: link))
        #expect(link.credit == 5)
        #expect(pair.server.canSend(on: link))
    }

    @Test func `a link that is gone while its answer is looked for is left alone`() throws {
        let pair = EnginePair()
        var waiting: Link?
        pair.onAttach = { _, link in waiting = link }
        let session = try pair.session()
        let (ours, _) = try pair.link(.receiver, on: session)
        pair.client.detach(ours)
        pair.run()
        let link = try #require(waiting)
        pair.server.accept(link, with: pair.server.reply(to: link))
        pair.server.refuse(link, AMQPError(.notFound))
        #expect(!pair.server.hasOutput)
    }

    @Test func `frames for a link that we detached are ignored until the peer detaches`() throws {
        let pair = EnginePair()
        let session = try pair.session()
        let (ours, theirs) = try pair.link(.sender, on: session)
        pair.server.detach(theirs, AMQPError(.linkStolen, "Taken."))
        pair.client.send("late", on: ours)
        pair.run()
        #expect(pair.deliveriesAtServer.isEmpty)
        #expect(session.state == .active)
        #expect(theirs.state == .detached && ours.state == .detached)
    }
}
