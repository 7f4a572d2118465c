// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import AMQP
import AMQPFront
import Hub
import HubModel
import NIOCore
import NIOEmbedded
import Testing

@Suite struct AMQPHandlerTests {
    static func closeError(_ client: FrontClient) -> AMQPError? {
        for case .closed(let error?) in client.events { return error }
        return nil
    }

    @Test func `a connection that does not sign in is closed in time`() throws {
        var limits = AMQPFrontLimits()
        limits.signInSecondsMax = 30
        let fixture = FrontFixture(limits: limits)
        let client = try fixture.client()
        let signedIn = try fixture.reader()
        fixture.advance(seconds: 25)
        #expect(client.channel.isActive)
        fixture.advance(seconds: 20)
        client.run()
        #expect(Self.closeError(client)?.condition == .connectionForced)
        #expect(!client.channel.isActive)
        #expect(signedIn.channel.isActive)
    }

    @Test func `bytes and frames are bounded before sign-in`() throws {
        var limits = AMQPFrontLimits()
        limits.framesBeforeSignInMax = 20
        let fixture = FrontFixture(limits: limits)
        let client = try fixture.client()
        for _ in 0..<30 where client.channel.isActive {
            var heartbeat = ByteBuffer()
            Frame.write(to: &heartbeat) { _ in }
            _ = try? client.channel.writeInbound(heartbeat)
        }
        client.receive()
        #expect(Self.closeError(client)?.condition == .connectionForced)
        limits.framesBeforeSignInMax = 1_000
        limits.bytesBeforeSignInMax = 4_096
        let other = try FrontFixture(limits: limits).client()
        _ = try? other.request(FrontClient.putToken(String(repeating: "x", count: 10_000)), to: "$cbs")
        #expect(!other.channel.isActive)
    }

    @Test func `amqp 078 an orderly stop closes with connection forced`() throws {
        let fixture = FrontFixture()
        let client = try fixture.reader()
        _ = try client.read()
        client.channel.pipeline.fireUserInboundEventTriggered(ChannelShouldQuiesceEvent())
        client.run()
        #expect(Self.closeError(client)?.condition == .connectionForced)
        #expect(!client.channel.isActive)
        #expect(fixture.hub.readers.count == 0)
    }

    @Test func `a stop before the connection is open closes it`() throws {
        let fixture = FrontFixture()
        let channel = EmbeddedChannel(handler: fixture.front.makeHandler(), loop: fixture.loop)
        try channel.connect(to: SocketAddress(ipAddress: "127.0.0.1", port: 5671)).wait()
        channel.pipeline.fireUserInboundEventTriggered(ChannelShouldQuiesceEvent())
        fixture.loop.run()
        #expect(!channel.isActive)
    }

    @Test func `amqp 011 what is no AMQP is answered with the header and closed`() throws {
        let fixture = FrontFixture()
        let channel = EmbeddedChannel(handler: fixture.front.makeHandler(), loop: fixture.loop)
        try channel.connect(to: SocketAddress(ipAddress: "127.0.0.1", port: 5671)).wait()
        try channel.writeInbound(ByteBuffer(string: "GET / HTTP/1.1\r\n\r\n"))
        var answer = ByteBuffer()
        ProtocolHeader.amqp.write(to: &answer)
        let said = try channel.readOutbound(as: ByteBuffer.self)
        #expect(said == answer)
        fixture.loop.run()
        #expect(!channel.isActive)
        #expect(fixture.hub.metrics.amqp.open.value == 0)
    }

    @Test func `amqp 014 amqp 015 heartbeats go out, and a silent peer is closed late`() throws {
        var limits = AMQPLimits()
        limits.idleTimeoutMilliseconds = 10_000
        let fixture = FrontFixture()
        let client = try fixture.reader(limits: limits)
        var quiet = 0
        for _ in 0..<60 {
            fixture.advance(seconds: 1)
            let isBeat = try client.channel.readOutbound(as: ByteBuffer.self) != nil
            quiet = isBeat ? 0 : quiet + 1
            #expect(quiet < 5)
        }
        for _ in 0..<42 { fixture.advance(seconds: 10) }
        #expect(client.channel.isActive)
        for _ in 0..<4 { fixture.advance(seconds: 10) }
        client.receive()
        #expect(!client.channel.isActive)
    }

    @Test func `the engine's errors close the connection with their condition and leave others alone`() throws {
        let fixture = FrontFixture()
        let (client, other) = (try fixture.reader(), try fixture.reader())
        let link = try other.read()
        _ = try client.channel.writeInbound(ByteBuffer(bytes: [0, 1, 0, 1, 2, 0, 0, 0]))
        client.receive()
        #expect(Self.closeError(client)?.condition == .framingError)
        try fixture.publish(["x"], device: "d")
        other.run()
        #expect(try other.bodies(link) == ["x"])
    }

    /// Counts the reads that reach the socket.
    final class ReadCounter: ChannelOutboundHandler {
        typealias OutboundIn = ByteBuffer
        var count = 0
        func read(context: ChannelHandlerContext) {
            count += 1
            context.read()
        }
    }

    @Test func `a peer that does not take its answers is not read until it does, and its silence does not count`()
        throws
    {
        let fixture = FrontFixture()
        let client = try fixture.reader()
        _ = try client.read()
        let counter = ReadCounter()
        try client.channel.pipeline.syncOperations.addHandler(counter, position: .first)
        client.channel.read()
        #expect(counter.count == 1)
        client.channel.isWritable = false
        client.channel.pipeline.fireChannelWritabilityChanged()
        for _ in 0..<3 { client.channel.read() }
        #expect(counter.count == 1)
        for _ in 0..<60 { fixture.advance(seconds: 10) }
        #expect(client.channel.isActive)
        client.channel.isWritable = true
        client.channel.pipeline.fireChannelWritabilityChanged()
        #expect(counter.count == 2)
        for _ in 0..<40 { fixture.advance(seconds: 10) }
        #expect(client.channel.isActive)
        for _ in 0..<12 { fixture.advance(seconds: 10) }
        client.receive()
        #expect(!client.channel.isActive)
    }
}
