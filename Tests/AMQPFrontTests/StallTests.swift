// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import AMQP
import AMQPFront
import Hub
import NIOCore
import NIOEmbedded
import Testing

/// Peers that take nothing of what they were sent, and peers that come while the hub is full.
@Suite struct StallTests {
    /// Stands for a socket whose peer's window is closed: it takes `room` bytes and lets the rest wait.
    final class SlowSocket: ChannelOutboundHandler {
        typealias OutboundIn = ByteBuffer
        var isBlocked = false
        func flush(context: ChannelHandlerContext) {
            if !isBlocked { context.flush() }
        }
    }

    @Test func `a peer that takes nothing is closed after the setting, and its readers are gone`() throws {
        var limits = AMQPFrontLimits()
        limits.writeStallSecondsMax = 60
        let fixture = FrontFixture(limits: limits)
        let client = try fixture.reader()
        let other = try fixture.reader()
        _ = try client.read()
        let socket = SlowSocket()
        try client.channel.pipeline.syncOperations.addHandler(socket, position: .first)
        socket.isBlocked = true
        try fixture.publish(["x"], device: "d")
        for partition in 1..<4 {
            _ = try client.engine.attach(client.readerAttach(FrontClient.path(partition)), on: client.session())
        }
        client.run()
        for _ in 0..<5 { fixture.advance(seconds: 10) }
        #expect(client.channel.isActive)
        for _ in 0..<4 { fixture.advance(seconds: 10) }
        #expect(!client.channel.isActive)
        #expect(fixture.hub.readers.count == 0)
        #expect(other.channel.isActive)
    }

    @Test func `a peer that takes a little now and then stays`() throws {
        let fixture = FrontFixture()
        let client = try fixture.reader()
        let link = try client.read(credit: 1)
        let socket = SlowSocket()
        try client.channel.pipeline.syncOperations.addHandler(socket, position: .first)
        for _ in 0..<6 {
            socket.isBlocked = true
            client.engine.grantCredit(1, to: link)
            client.run()
            for _ in 0..<5 { fixture.advance(seconds: 10) }
            socket.isBlocked = false
            client.channel.flush()
            client.run()
        }
        #expect(client.channel.isActive)
    }

    @Test(arguments: [true, false]) func `a full hub answers with a close that has a condition`(sasl: Bool) throws {
        let engine = ConnectionEngine(
            role: .client(sasl ? SASLInit(mechanism: "MSSBCBS") : nil),
            containerID: "client",
            now: 0
        )
        engine.receive(ByteBuffer(bytes: AMQPFront.refusal(to: engine.takeOutput(now: 0))), now: 0)
        var errors: [AMQPError?] = []
        while let event = engine.nextEvent() {
            if case .closed(let error) = event { errors.append(error) }
        }
        #expect(errors.map { $0?.condition } == [.connectionForced])
        #expect(errors.first??.description?.isEmpty == false)
    }
}
