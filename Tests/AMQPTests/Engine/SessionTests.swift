// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import AMQP
import NIOCore
import Testing

@Suite struct SessionTests {
    @Test func `amqp 017 the begin reply has the negotiated values`() throws {
        let pair = EnginePair()
        let session = try pair.session()
        let begin = try #require(session.remoteBegin)
        #expect(begin.remoteChannel == 0)
        #expect(begin.nextOutgoingID == 1)
        #expect(begin.incomingWindow == 5_000)
        #expect(begin.handleMax == 262_143)
    }

    @Test func `amqp 019 flows carry next-incoming-id, and link flows delivery-count and credit`() throws {
        let pair = EnginePair()
        let session = try pair.session()
        _ = try pair.link(.sender, on: session)
        let flows = pair.fromServer.compactMap { if case .flow(let flow) = $0 { flow } else { nil } }
        #expect(!flows.isEmpty)
        for flow in flows {
            #expect(flow.nextIncomingID != nil)
            #expect(flow.deliveryCount != nil && flow.linkCredit != nil)
        }
    }

    @Test func `amqp 020 the incoming window is opened again in time for 20000 transfers`() throws {
        let pair = EnginePair()
        let session = try pair.session()
        let (ours, _) = try pair.link(.sender, on: session)
        for index in 0..<20_000 {
            if !pair.client.canSend(on: ours) { pair.run() }
            try #require(pair.client.canSend(on: ours), "stalled at \(index)")
            pair.client.send("x", on: ours)
        }
        pair.run()
        #expect(pair.deliveriesAtServer.count == 20_000)
    }

    @Test func `amqp 021 delivery ids are consecutive over three links of one session`() throws {
        let pair = EnginePair()
        let session = try pair.session()
        let links = try (0..<3).map { try pair.link(.receiver, name: "l\($0)", on: session, credit: 100).1 }
        for index in 0..<30 { pair.server.send("x", on: links[index % 3]) }
        pair.run()
        #expect(pair.deliveriesAtClient.map(\.id) == (0..<30).map { UInt32($0) })
    }

    @Test func `amqp 022 performatives have all fields and no list0`() throws {
        let pair = EnginePair()
        let session = try pair.session()
        _ = try pair.link(.sender, on: session)
        let counts: [UInt8: UInt8] = [
            0x10: 10, 0x11: 8, 0x12: 14, 0x13: 11, 0x14: 11, 0x15: 6, 0x16: 3, 0x17: 1, 0x18: 1,
        ]
        pair.client.end(session)
        pair.run()
        pair.client.close()
        pair.run()
        for performative in pair.fromServer + [
            .transfer(Transfer(handle: 0)), .disposition(Disposition(role: .sender, first: 0)),
        ] {
            var buffer = ByteBuffer()
            performative.encode(into: &buffer)
            #expect(buffer.getInteger(at: 0, as: UInt16.self) == 0x0053)
            let code = try #require(buffer.getInteger(at: 2, as: UInt8.self))
            let list = try #require(buffer.getInteger(at: 3, as: UInt8.self))
            #expect(list == 0xc0 || list == 0xd0)
            let count = buffer.getInteger(at: list == 0xc0 ? 5 : 11, as: UInt8.self)
            #expect(count == counts[code])
        }
    }

    @Test func `amqp 023 end is answered with end and frees the channel`() throws {
        let pair = EnginePair()
        let session = try pair.session()
        let (_, theirs) = try pair.link(.sender, on: session)
        pair.client.end(session)
        pair.run()
        guard case .ended(_, let links, nil)? = pair.serverEvents.last else {
            Issue.record("not ended")
            return
        }
        #expect(links.count == 1 && links.first === theirs)
        #expect(pair.server.sessions.isEmpty && pair.client.sessions.isEmpty)
        let again = try #require(pair.client.begin())
        pair.run()
        #expect(again.state == .active)
    }

    @Test func `event_hubs 058 frames on an ended channel are ignored`() throws {
        let engine = ConnectionTests.opened()
        _ = engine.receive(.begin(Begin(nextOutgoingID: 0, incomingWindow: 1, outgoingWindow: 1)), channel: 1)
        _ = engine.receive(.attach(Attach(name: "a", handle: 0, role: .receiver)), channel: 1)
        _ = engine.receive(.end(End()), channel: 1)
        _ = engine.takeOutput(now: 0)
        // What pyamqp does on its management connections.
        #expect(engine.receive(.detach(Detach(handle: 0, closed: false)), channel: 1).isEmpty)
        #expect(!engine.isClosed)
        #expect(engine.takeOutput(now: 0).readableBytes == 0)
    }

    @Test func `event_hubs 036 a window of 100 frames is kept until the peer opens it`() throws {
        let engine = ConnectionTests.opened()
        _ = engine.receive(.begin(Begin(nextOutgoingID: 0, incomingWindow: 100, outgoingWindow: 1)))
        var attach = Attach(name: "a", handle: 0, role: .receiver)
        attach.source = Source(address: "x")
        guard case .attached(let link)? = engine.receive(.attach(attach)).first else {
            Issue.record("not attached")
            return
        }
        engine.accept(link, with: engine.reply(to: link))
        var flow = Flow(nextIncomingID: 1, incomingWindow: 100, nextOutgoingID: 0, outgoingWindow: 1)
        flow.handle = 0
        flow.deliveryCount = 0
        flow.linkCredit = 10_000
        _ = engine.receive(.flow(flow))
        var sent = 0
        while engine.canSend(on: link) {
            engine.send("x", on: link)
            sent += 1
        }
        #expect(sent == 100)
        flow = Flow(nextIncomingID: 61, incomingWindow: 100, nextOutgoingID: 0, outgoingWindow: 1)
        guard case .flow(_, nil, windowOpened: true)? = engine.receive(.flow(flow)).first else {
            Issue.record("the window did not open")
            return
        }
        while engine.canSend(on: link) {
            engine.send("x", on: link)
            sent += 1
        }
        #expect(sent == 160)
    }

    @Test func `a window of one frame is opened again after each`() throws {
        var limits = AMQPLimits()
        limits.incomingWindow = 1
        let engine = ConnectionTests.opened(limits)
        _ = engine.receive(.begin(Begin(nextOutgoingID: 0, incomingWindow: 1, outgoingWindow: 1)))
        var attach = Attach(name: "a", handle: 0, role: .sender)
        attach.initialDeliveryCount = 0
        attach.target = Target(address: "x")
        guard case .attached(let link)? = engine.receive(.attach(attach)).first else { return }
        engine.accept(link, with: engine.reply(to: link), credit: 10)
        var transfer = Transfer(handle: 0)
        transfer.deliveryID = 0
        transfer.deliveryTag = ByteBuffer(string: "t")
        for _ in 0..<5 { _ = engine.receive(.transfer(transfer), payload: ByteBuffer(hex: "00 53 77 40")) }
        #expect(link.session.state == .active)
    }

    @Test func `a handle that no link has ends the session, not the connection`() throws {
        for performative in [
            .transfer(Transfer(handle: 7)),
            .flow(
                {
                    var flow = Flow(nextIncomingID: 1, incomingWindow: 1, nextOutgoingID: 0, outgoingWindow: 1)
                    flow.handle = 7
                    return flow
                }()
            ),
        ] as [Performative] {
            let engine = ConnectionTests.opened()
            _ = engine.receive(.begin(Begin(nextOutgoingID: 0, incomingWindow: 1, outgoingWindow: 1)))
            guard case .ended(let session, _, let error)? = engine.receive(performative).first else {
                Issue.record("not ended")
                continue
            }
            #expect(error?.condition == .unattachedHandle)
            #expect(session.state == .endSent)
            #expect(!engine.isClosed)
        }
    }

    @Test func `a handle in use ends the session`() throws {
        let engine = ConnectionTests.opened()
        _ = engine.receive(.begin(Begin(nextOutgoingID: 0, incomingWindow: 1, outgoingWindow: 1)))
        _ = engine.receive(.attach(Attach(name: "a", handle: 0, role: .receiver)))
        guard
            case .ended(_, let links, let error)? = engine.receive(
                .attach(Attach(name: "b", handle: 0, role: .receiver))
            ).first
        else {
            Issue.record("not ended")
            return
        }
        #expect(error?.condition == .handleInUse)
        #expect(links.count == 1)
    }
}
