// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import AMQP
import NIOCore
import Testing

/// What the engine does where a frame that cannot be cut would not fit the peer's frames.
@Suite struct FittingTests {
    static let tiny: AMQPLimits = {
        var limits = AMQPLimits()
        limits.frameBytesMax = 512
        return limits
    }()

    private func largestFrame(_ pair: EnginePair) -> Int {
        var bytes = pair.server.takeOutput(now: 0)
        var largest = 0
        while let frame = try? Frame.read(from: &bytes, bytesMax: .max) {
            largest = max(largest, frame.body.readableBytes + 8)
        }
        return largest
    }

    @Test func `amqp 013 long errors are cut to the frames of the peer`() throws {
        let long = String(repeating: "ä", count: 40_000)
        let error = AMQPError(.notFound, long, info: [.symbol("a"): .string(long)])
        for step in 0..<4 {
            let pair = EnginePair(clientLimits: Self.tiny)
            let session = try pair.session()
            let (_, theirs) = try pair.link(.sender, on: session)
            switch step {
            case 0: pair.server.detach(theirs, error)
            case 1: pair.server.end(theirs.session, error)
            case 2: pair.server.close(error)
            default: pair.server.settle(0, on: theirs.session, .rejected(error))
            }
            let size = largestFrame(pair)
            #expect(size <= 512 && size > 300, "step \(step)")
        }
    }

    @Test func `an info that fits is sent whole`() throws {
        let pair = EnginePair(clientLimits: Self.tiny)
        let session = try pair.session()
        let (ours, theirs) = try pair.link(.sender, on: session)
        let host = "a-hub-with-a-long-name.example.net"
        let error = AMQPError(
            .linkRedirect,
            info: [
                .symbol("hostname"): .string(host), .symbol("network-host"): .string(host), .symbol("port"): .int(5671),
            ]
        )
        pair.server.detach(theirs, error)
        pair.run()
        guard case .detached(let link, let told)? = pair.clientEvents.last else {
            Issue.record("no detach")
            return
        }
        #expect(link === ours && told == error)
    }

    @Test func `an answer to an attach is sent without properties where it would not fit`() throws {
        let pair = EnginePair(clientLimits: Self.tiny)
        let session = try pair.session()
        var attach = Attach(name: "link", handle: 0, role: .receiver)
        attach.source = Source(address: "node")
        attach.target = Target(address: "node")
        attach.properties = [.symbol("a"): .string(String(repeating: "x", count: 600))]
        let link = try #require(pair.client.attach(attach, on: session))
        pair.run()
        #expect(link.state == .attached && link.remoteAttach.properties == nil)
        attach.name = "other"
        attach.source?.address = String(repeating: "x", count: 600)
        let large = try #require(pair.client.attach(attach, on: session))
        pair.run()
        #expect(large.state == .detached)
        guard case .detached(_, let error)? = pair.clientEvents.last, case .detached? = pair.serverEvents.last else {
            Issue.record("no detach")
            return
        }
        #expect(error?.condition == .frameSizeTooSmall)
        attach.name = String(repeating: "n", count: 600)
        _ = try #require(pair.client.attach(attach, on: session))
        pair.run()
        #expect(session.state == .ended && !pair.server.isClosed)
        #expect(
            pair.fromServer.contains {
                if case .end(let end) = $0 { end.error?.condition == .frameSizeTooSmall } else { false }
            }
        )
    }

    @Test func `an accepted link keeps addresses and settle modes and nothing else of its attach`() throws {
        let pair = EnginePair()
        let session = try pair.session()
        var attach = Attach(name: "link", handle: 0, role: .receiver)
        attach.senderSettleMode = .settled
        attach.source = Source(address: "node")
        attach.source?.filter = [.symbol("f"): .string("x")]
        attach.target = Target(address: "back")
        attach.unsettled = [.string("t"): .null]
        attach.properties = [.symbol("a"): .string("b")]
        let ours = try #require(pair.client.attach(attach, on: session))
        pair.run()
        #expect(ours.remoteAttach.properties != nil)
        guard case .attached(let theirs)? = pair.serverEvents.last else {
            Issue.record("no attach")
            return
        }
        let kept = theirs.remoteAttach
        #expect(kept.properties == nil && kept.unsettled == nil && kept.source?.filter == nil)
        #expect(kept.source?.address == "node" && kept.target?.address == "back" && kept.senderSettleMode == .settled)
    }

    @Test func `a second attach of a name is refused with resource-locked while the first waits for its answer`() throws
    {
        let pair = EnginePair()
        var waiting: [Link] = []
        pair.onAttach = { _, link in waiting.append(link) }
        let session = try pair.session()
        _ = try pair.link(.sender, name: "same", on: session)
        var attach = Attach(name: "same", handle: 7, role: .sender)
        attach.initialDeliveryCount = 0
        _ = pair.server.receive(.attach(attach))
        #expect(waiting.count == 1)
        var bytes = pair.server.takeOutput(now: 0)
        _ = try Frame.read(from: &bytes, bytesMax: .max)
        var body = try #require(try Frame.read(from: &bytes, bytesMax: .max)).body
        guard case .detach(let detach) = try Performative(body: &body) else {
            Issue.record("no detach")
            return
        }
        #expect(detach.handle == 7 && detach.error?.condition == .resourceLocked)
        let first = try #require(waiting.first)
        pair.server.accept(first, with: pair.server.reply(to: first))
        #expect(first.state == .attached && !pair.server.isClosed)
    }
}
