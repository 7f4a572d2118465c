// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

@testable import AMQP
import NIOCore
import Testing

/// What a peer may leave behind that goes on after it was refused.
@Suite struct RefusalBoundTests {
    static let begin = Performative.begin(Begin(nextOutgoingID: 0, incomingWindow: 1, outgoingWindow: 1))

    /// Attaches a receiver whose attach is large.
    static func attach(_ engine: ConnectionEngine, handle: UInt32, name: String? = nil) -> [ConnectionEvent] {
        var attach = Attach(name: name ?? "link-\(handle)", handle: handle, role: .receiver)
        attach.source = Source(address: String(repeating: "x", count: 10_000))
        attach.properties = [.symbol("p"): .string("q")]
        return engine.receive(.attach(attach))
    }

    @Test func `links that are refused and never detached end the connection a few beyond the limit`() throws {
        var limits = AMQPLimits()
        limits.linksMax = 2
        limits.linksRefusedMax = 3
        let engine = ConnectionTests.opened(limits)
        _ = engine.receive(Self.begin)
        for handle in 0..<5 as Range<UInt32> { _ = Self.attach(engine, handle: handle) }
        #expect(!engine.isClosed)
        _ = engine.takeOutput(now: 0)
        _ = Self.attach(engine, handle: 5)
        #expect(engine.isClosed)
        #expect(try ConnectionTests.closeError(engine)?.condition == .resourceLimitExceeded)
    }

    @Test func `links that are refused and detached may come again and again`() throws {
        var limits = AMQPLimits()
        limits.linksMax = 1
        limits.linksRefusedMax = 1
        let engine = ConnectionTests.opened(limits)
        _ = engine.receive(Self.begin)
        _ = Self.attach(engine, handle: 0)
        for _ in 0..<10 {
            _ = Self.attach(engine, handle: 1)
            _ = engine.receive(.detach(Detach(handle: 1, closed: true)))
        }
        #expect(!engine.isClosed)
    }

    @Test func `a refused link keeps nothing of its attach`() throws {
        var limits = AMQPLimits()
        limits.linksMax = 1
        let engine = ConnectionTests.opened(limits)
        _ = engine.receive(Self.begin)
        guard case .attached(let refused)? = Self.attach(engine, handle: 0).first else {
            Issue.record("not attached")
            return
        }
        engine.refuse(refused, AMQPError(.notFound))
        _ = Self.attach(engine, handle: 1)
        _ = engine.receive(.detach(Detach(handle: 0, closed: true)))
        _ = Self.attach(engine, handle: 2, name: String(repeating: "n", count: 5_000))
        let links = try #require(engine.sessions.first).links + [refused]
        #expect(links.count == 3)
        for link in links {
            #expect(link.remoteAttach.source == nil && link.remoteAttach.properties == nil)
            #expect(link.name.utf8.count <= limits.linkNameBytesMax)
        }
    }

    @Test func `sessions that are refused and never ended close the connection a few beyond the limit`() throws {
        var limits = AMQPLimits()
        limits.sessionsMax = 2
        limits.sessionsRefusedMax = 3
        let engine = ConnectionTests.opened(limits)
        for channel in 0..<5 as Range<UInt16> { _ = engine.receive(Self.begin, channel: channel) }
        #expect(!engine.isClosed)
        #expect(engine.sessions.filter { $0.state == .endSent && $0.remoteBegin == nil }.count == 3)
        _ = engine.takeOutput(now: 0)
        _ = engine.receive(Self.begin, channel: 5)
        #expect(try ConnectionTests.closeError(engine)?.condition == .resourceLimitExceeded)
        #expect(engine.isClosed)
    }

    @Test func `silence counts for nothing while the peer is not read`() {
        let limits = AMQPLimits()
        let engine = ConnectionTests.opened(limits)
        let long = Int64(limits.idleTimeoutMilliseconds) * 3
        engine.readingPaused()
        #expect(engine.timePassed(now: long) == .nothing)
        engine.readingResumed(now: long)
        #expect(engine.timePassed(now: long + 1) == .nothing)
        #expect(engine.timePassed(now: long * 2) == .timedOut)
    }
}
