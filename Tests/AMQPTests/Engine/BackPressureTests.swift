// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import NIOCore
import Testing

@testable import AMQP

/// How a peer that sends faster than its messages are done with is held back, and who is told when there is room again.
@Suite struct BackPressureTests {
    /// Begins a session of the peer and attaches a link on which we send; accepted unless said otherwise.
    private func link(
        _ engine: ConnectionEngine,
        channel: UInt16 = 0,
        handle: UInt32 = 0,
        window: UInt32? = nil,
        isAccepted: Bool = true
    ) throws -> Link {
        if let window {
            let begin = Begin(nextOutgoingID: 0, incomingWindow: window, outgoingWindow: 1)
            _ = engine.receive(.begin(begin), channel: channel)
        }
        var attach = Attach(name: "link \(handle)", handle: handle, role: .receiver)
        attach.source = Source(address: "x")
        let events = engine.receive(.attach(attach), channel: channel)
        guard case .attached(let link)? = events.first else { throw AMQPDecodeError.truncated }
        guard isAccepted else { return link }
        engine.accept(link, with: engine.reply(to: link))
        _ = engine.receive(.flow(flow(handle: handle, window: window ?? 100)), channel: channel)
        return link
    }

    private func flow(handle: UInt32?, window: UInt32, nextIncomingID: UInt32 = 1) -> Flow {
        var flow = Flow(
            nextIncomingID: nextIncomingID,
            incomingWindow: window,
            nextOutgoingID: 0,
            outgoingWindow: 1
        )
        flow.handle = handle
        if handle != nil { flow.linkCredit = 10 }
        return flow
    }

    @Test func `the window stays shut while too much is unsettled, and opens as it is settled`() throws {
        var limits = AMQPLimits()
        limits.incomingWindow = 10
        limits.unsettledMax = 20
        let pair = EnginePair(serverLimits: limits)
        let session = try pair.session()
        let (ours, theirs) = try pair.link(.sender, on: session)
        func sendAll() {
            for _ in 0..<20 {
                while pair.client.canSend(on: ours) { pair.client.send("x", on: ours, settled: false) }
                pair.run()
            }
        }
        sendAll()
        // A peer that keeps to the window is never sent away for what nobody has settled.
        #expect(pair.deliveriesAtServer.count == 20 && session.state == .active)
        for id in 0..<4 as Range<UInt32> { pair.server.settle(id, on: theirs.session, .accepted) }
        sendAll()
        #expect(pair.deliveriesAtServer.count == 20)
        pair.server.settle(4, on: theirs.session, .accepted)
        sendAll()
        #expect(pair.deliveriesAtServer.count == 25 && session.state == .active)
    }

    @Test func `messages take up their credit until they are done`() throws {
        let pair = EnginePair()
        pair.onAttach = { engine, link in
            engine.accept(link, with: engine.reply(to: link), credit: 10, untilDone: true)
        }
        let session = try pair.session()
        let (ours, theirs) = try pair.link(.sender, on: session)
        func sendAll() {
            pair.run()
            while pair.client.canSend(on: ours) {
                pair.client.send("x", on: ours)
                pair.run()
            }
        }
        sendAll()
        #expect(pair.deliveriesAtServer.count == 10)
        pair.server.done(4, on: theirs)
        sendAll()
        #expect(pair.deliveriesAtServer.count == 10)
        pair.server.done(on: theirs)
        sendAll()
        #expect(pair.deliveriesAtServer.count == 15)
        pair.server.done(15, on: theirs)
        sendAll()
        #expect(pair.deliveriesAtServer.count == 25)
    }

    @Test func `a window that opens with the flow of a link being attached wakes the others`() throws {
        let engine = ConnectionTests.opened()
        let link = try link(engine, window: 1)
        engine.send("x", on: link)
        #expect(!engine.canSend(on: link))
        _ = try self.link(engine, handle: 1, isAccepted: false)
        let events = engine.receive(.flow(flow(handle: 1, window: 10, nextIncomingID: 2)))
        guard case .flow(_, nil, windowOpened: true)? = events.first else {
            Issue.record("nobody was woken")
            return
        }
        #expect(engine.canSend(on: link))
    }

    @Test func `room for what waits for windows wakes the links of all sessions`() throws {
        var limits = AMQPLimits()
        limits.pendingOutgoingBytesMax = 1_000
        let engine = ConnectionTests.opened(limits)
        let slow = try link(engine, window: 1)
        let other = try link(engine, channel: 1, window: 100)
        engine.send(on: slow, settled: true) { $0.writeAMQPDataSection(ByteBuffer(repeating: 0, count: 100_000)) }
        #expect(!engine.canSend(on: other))
        let woken = engine.receive(.flow(flow(handle: nil, window: 100, nextIncomingID: 2))).contains { event in
            if case .flow(let session, nil, windowOpened: true) = event { session === other.session } else { false }
        }
        #expect(woken && engine.canSend(on: other))
    }

    @Test func `room for what is unsettled wakes the links of its session`() throws {
        var limits = AMQPLimits()
        limits.unsettledMax = 1
        let engine = ConnectionTests.opened(limits)
        let one = try link(engine, window: 100)
        let other = try link(engine, handle: 1)
        engine.send("x", on: one, settled: false)
        #expect(!engine.canSend(on: other))
        let disposition = Disposition(role: .receiver, first: 0, settled: true, state: .accepted)
        guard case .flow(_, nil, windowOpened: true)? = engine.receive(.disposition(disposition)).last else {
            Issue.record("nobody was woken")
            return
        }
        #expect(engine.canSend(on: one))
    }

    @Test func `amqp 014 heartbeats go on while the peer is not read`() throws {
        let engine = ConnectionTests.server()
        var bytes = ByteBuffer()
        ProtocolHeader.amqp.write(to: &bytes)
        engine.receive(bytes, now: 0)
        var open = Open(containerID: "c")
        open.idleTimeout = 10_000
        _ = engine.receive(.open(open))
        _ = engine.takeOutput(now: 0)
        engine.readingPaused()
        #expect(engine.timePassed(now: 4_500) == .nothing)
        #expect(engine.takeOutput(now: 4_500).hex == "00 00 00 08 02 00 00 00")
    }

    @Test func `handles and channels are ones that the peer takes`() throws {
        let engine = ConnectionTests.server()
        var bytes = ByteBuffer()
        ProtocolHeader.amqp.write(to: &bytes)
        engine.receive(bytes, now: 0)
        var open = Open(containerID: "c")
        open.channelMax = 2
        _ = engine.receive(.open(open))
        let begin = Begin(nextOutgoingID: 0, incomingWindow: 1, outgoingWindow: 1, handleMax: 3)
        guard case .begun(let session)? = engine.receive(.begin(begin), channel: 7).first else {
            Issue.record("not begun")
            return
        }
        #expect(session.channel <= 2)
        for handle in [200, 201] as [UInt32] {
            let attach = Attach(name: "link \(handle)", handle: handle, role: .receiver)
            guard case .attached(let link)? = engine.receive(.attach(attach), channel: 7).first else {
                Issue.record("not attached")
                return
            }
            #expect(link.handle <= 3)
        }
    }
}
