// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import AMQP
import NIOCore

/// Lets a server's engine talk to whatever the bytes say, answering as a front would, and checks its bounds.
///
/// The first byte says how: bit 0 skips the headers and the open, so that frames come at once; the others say in how
/// small pieces the bytes arrive. Shared by the fuzzer and the test that replays its finds.
func exerciseAMQPEngine(_ bytes: [UInt8]) {
    guard let how = bytes.first else { return }
    let engine = ConnectionEngine(role: .server(mechanisms: ["ANONYMOUS", "PLAIN"]), containerID: "fuzz", now: 0)
    var peer = Peer(engine: engine)
    if how & 1 == 1 {
        var opening = ByteBuffer()
        ProtocolHeader.amqp.write(to: &opening)
        write(.open(Open(containerID: "peer")), to: &opening)
        engine.receive(opening, now: 0)
        peer.run()
    }
    let piece = max(1, Int(how >> 1) * 4)
    var rest = ByteBuffer(bytes: bytes.dropFirst())
    while rest.readableBytes > 0, let part = rest.readSlice(length: min(piece, rest.readableBytes)) {
        engine.receive(part, now: peer.time)
        peer.run()
    }
    _ = engine.timePassed(now: peer.time + 1_000_000)
    _ = engine.takeOutput(now: peer.time)
}

private func write(_ performative: Performative, to buffer: inout ByteBuffer) {
    var body = ByteBuffer()
    performative.encode(into: &body)
    buffer.writeInteger(UInt32(body.readableBytes + 8))
    buffer.writeInteger(UInt32(0x0200_0000))
    buffer.writeBuffer(&body)
}

/// Does what a front does with each event: accepts every other link, sends while it may, settles what comes.
private struct Peer {
    let engine: ConnectionEngine
    var time: Int64 = 0
    var attachCount = 0
    var sent = 0

    mutating func run() {
        time += 1
        while let event = engine.nextEvent() {
            handle(event)
        }
        let output = engine.takeOutput(now: time)
        precondition(output.readableBytes < 16 << 20, "what is to be sent stays bounded")
        precondition(engine.sessions.count <= Int(engine.limits.channelMax) + 1, "sessions stay bounded")
    }

    private mutating func handle(_ event: ConnectionEvent) {
        switch event {
        case .saslInit: engine.finishSASL(.ok)
        case .attached(let link):
            attachCount += 1
            guard attachCount % 3 != 0 else {
                return engine.refuse(link, AMQPError(.notFound, "There is none."))
            }
            engine.accept(link, with: engine.reply(to: link), credit: 10)
        case .delivery(let link, let delivery):
            guard !delivery.isSettled else { return }
            engine.settle(delivery.id, on: link.session, .accepted)
        case .flow(_, let link?, _):
            while sent < 1000, engine.canSend(on: link) {
                sent += 1
                _ = engine.send(on: link, settled: sent % 2 == 0) { $0.writeRepeatingByte(7, count: 700) }
            }
        case .disposition(let link, let id, _, let settled):
            if !settled { engine.confirm(id, on: link.session, .accepted) }
        case .saslOutcome, .opened, .begun, .flow, .detached, .ended, .closed, .failed:
            break
        }
    }
}
