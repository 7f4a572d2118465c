// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import AMQP
import NIOCore
import Testing

@Suite struct ConnectionTests {
    static func frames(_ bytes: ByteBuffer) throws -> [Frame] {
        var bytes = bytes
        var frames: [Frame] = []
        while bytes.readableBytes > 0 {
            if case .header = ProtocolHeader.read(from: &bytes) { continue }
            frames.append(try #require(try Frame.read(from: &bytes, bytesMax: .max)))
        }
        return frames
    }

    static func server(_ limits: AMQPLimits = .init()) -> ConnectionEngine {
        ConnectionEngine(
            role: .server(mechanisms: ["EXTERNAL", "MSSBCBS", "ANONYMOUS", "PLAIN"]),
            containerID: "s",
            limits: limits,
            now: 0
        )
    }

    static func opened(_ limits: AMQPLimits = .init()) -> ConnectionEngine {
        let engine = server(limits)
        var bytes = ByteBuffer()
        ProtocolHeader.amqp.write(to: &bytes)
        engine.receive(bytes, now: 0)
        _ = engine.receive(.open(Open(containerID: "c")))
        _ = engine.takeOutput(now: 0)
        return engine
    }

    static func closeError(_ engine: ConnectionEngine) throws -> AMQPError? {
        for frame in try frames(engine.takeOutput(now: 0)) where frame.kind == .amqp {
            var body = frame.body
            if case .close(let close) = try Performative(body: &body) { return close.error }
        }
        return nil
    }

    @Test(arguments: [Int.max, 1, 7])
    func `two engines open, begin and attach, however the bytes are cut`(_ chunk: Int) throws {
        let pair = EnginePair()
        pair.chunk = chunk
        let session = try pair.session()
        let (ours, theirs) = try pair.link(.receiver, on: session, credit: 5)
        #expect(ours.state == .attached)
        #expect(theirs.credit == 5)
        #expect(pair.server.remoteOpen?.containerID == "client")
        #expect(pair.client.remoteOpen?.containerID == "server")
        pair.client.close()
        pair.run()
        #expect(pair.server.isClosed && pair.client.isClosed)
    }

    @Test func `amqp 001 the plain header is answered in kind and opens without SASL`() throws {
        let pair = EnginePair(sasl: nil)
        _ = try pair.session()
        #expect(pair.server.isOpen)
    }

    @Test func `amqp 002 the mechanisms are an array of exactly four`() throws {
        let engine = Self.server()
        var bytes = ByteBuffer()
        ProtocolHeader.sasl.write(to: &bytes)
        engine.receive(bytes, now: 0)
        #expect(engine.nextEvent() == nil)
        var expected = bytes
        expected.writeImmutableBuffer(Vector.named("amqp sasl-mechanisms"))
        #expect(engine.takeOutput(now: 0).hex == expected.hex)
    }

    @Test(arguments: [nil, "", "anybody"] as [String?])
    func `amqp 003 amqp 004 MSSBCBS and ANONYMOUS succeed with any initial response`(_ text: String?) throws {
        for mechanism in ["MSSBCBS", "ANONYMOUS"] {
            let engine = Self.server()
            var bytes = ByteBuffer()
            ProtocolHeader.sasl.write(to: &bytes)
            Frame.write(to: &bytes, kind: .sasl) { buffer in
                // The C client leaves out every field but the first.
                buffer.writeAMQPComposite(0x41, count: text == nil ? 1 : 2) { buffer in
                    buffer.writeAMQPSymbol(mechanism)
                    if let text { buffer.writeAMQPBinary(ByteBuffer(string: text)) }
                }
            }
            engine.receive(bytes, now: 0)
            guard case .saslInit(let start)? = engine.nextEvent() else {
                Issue.record("no sasl-init")
                return
            }
            #expect(start.mechanism == mechanism)
            engine.finishSASL(.ok)
            let last = try #require(try Self.frames(engine.takeOutput(now: 0)).last)
            #expect(try SASLFrame(body: last.body) == .outcome(.ok, additionalData: ByteBuffer(string: "Welcome!")))
        }
    }

    @Test func `amqp 008 refused credentials give code 1 and the end`() throws {
        let engine = Self.server()
        var bytes = ByteBuffer()
        ProtocolHeader.sasl.write(to: &bytes)
        Frame.write(to: &bytes, kind: .sasl) { buffer in
            SASLFrame.initiate(SASLInit(mechanism: "PLAIN", initialResponse: ByteBuffer(string: "\0a\0b"))).encode(
                into: &buffer
            )
        }
        engine.receive(bytes, now: 0)
        _ = engine.nextEvent()
        engine.finishSASL(.auth)
        let last = try #require(try Self.frames(engine.takeOutput(now: 0)).last)
        #expect(try SASLFrame(body: last.body) == .outcome(.auth, additionalData: nil))
        #expect(engine.isClosed)
    }

    @Test(arguments: ["47 45 54 20 2f 20 48 54", "41 4d 51 50 02 01 00 00", "41 4d 51 50 00 00 09 01"])
    func `amqp 011 an unknown header is answered with the AMQP header and the end`(_ hex: String) {
        let engine = Self.server()
        engine.receive(ByteBuffer(hex: hex), now: 0)
        guard case .failed? = engine.nextEvent() else {
            Issue.record("not refused")
            return
        }
        #expect(engine.takeOutput(now: 0).hex == "41 4d 51 50 00 01 00 00")
        #expect(engine.isClosed)
    }

    @Test func `amqp 012 the open has ten fields and the negotiated values`() throws {
        let pair = EnginePair()
        pair.run()
        guard case .open(let open)? = pair.fromServer.first else {
            Issue.record("no open")
            return
        }
        #expect(open.maxFrameSize == 65_536)
        #expect(open.channelMax == 8_191)
        #expect(open.idleTimeout == 240_000)
        var encoded = ByteBuffer()
        open.encode(into: &encoded)
        #expect(encoded.getInteger(at: 5, as: UInt8.self) == 10)
    }

    @Test func `amqp 014 heartbeats come within half of the peer's idle time-out`() throws {
        var limits = AMQPLimits()
        limits.idleTimeoutMilliseconds = 10_000
        let pair = EnginePair(clientLimits: limits)
        pair.run()
        var sent: [Int64] = [0]
        var now: Int64 = 0
        let step = pair.server.timeCheckMilliseconds
        while now < 60_000 {
            now += step
            #expect(pair.server.timePassed(now: now) == .nothing)
            let bytes = pair.server.takeOutput(now: now)
            if bytes.readableBytes > 0 {
                #expect(bytes.hex == "00 00 00 08 02 00 00 00")
                sent.append(now)
            }
        }
        #expect(sent.count > 10)
        for (one, next) in zip(sent, sent.dropFirst()) { #expect(next - one <= 5_000) }
    }

    @Test func `amqp 015 a silent peer is closed only after more than the announced time`() throws {
        let engine = Self.opened()
        #expect(engine.timePassed(now: 240_000) == .nothing)
        #expect(engine.timePassed(now: 480_000) == .nothing)
        #expect(engine.timePassed(now: 480_001) == .timedOut)
        #expect(try Self.closeError(engine)?.condition == .connectionForced)
    }

    @Test func `a peer that stops before its open is closed as late as any other`() throws {
        let engine = Self.server()
        #expect(engine.timePassed(now: 480_000) == .nothing)
        #expect(engine.timePassed(now: 480_001) == .timedOut)
        #expect(engine.isClosed)
    }

    @Test func `amqp 016 open, begin and attach in one segment all succeed`() throws {
        let engine = Self.server()
        var bytes = ByteBuffer()
        ProtocolHeader.amqp.write(to: &bytes)
        var attach = Attach(name: "a", handle: 1, role: .receiver)
        attach.source = Source(address: "x")
        for (channel, performative) in [
            (0, .open(Open(containerID: "c"))),
            (1, .begin(Begin(nextOutgoingID: 0, incomingWindow: 65536, outgoingWindow: 65536))), (1, .attach(attach)),
        ] as [(UInt16, Performative)] {
            Frame.write(to: &bytes, channel: channel) { performative.encode(into: &$0) }
        }
        engine.receive(bytes, now: 0)
        var links: [Link] = []
        while let event = engine.nextEvent() { if case .attached(let link) = event { links.append(link) } }
        // amqp 018: channel 1 and handle 1 are as good as 0 and 0.
        #expect(links.first?.handle == 1)
        #expect(links.first?.session.channel == 1)
    }

    @Test func `amqp 023 close is answered with close`() throws {
        let engine = Self.opened()
        guard case .closed(nil)? = engine.receive(.close(Close())).first else {
            Issue.record("not closed")
            return
        }
        #expect(engine.takeOutput(now: 0).hex.hasSuffix("00 53 18 c0 02 01 40"))
        #expect(engine.isClosed)
    }

    @Test func `amqp 024 a frame above the announced size closes with framing-error`() throws {
        let engine = Self.opened()
        engine.receive(ByteBuffer(hex: "00 01 00 01 02 00 00 00"), now: 0)
        _ = engine.nextEvent()
        #expect(try Self.closeError(engine)?.condition == .framingError)
    }

    @Test func `what cannot be decoded closes with the standard's condition`() throws {
        for (hex, condition) in [
            ("00 00 00 07 02 00 00 00", AMQPCondition.framingError), ("00 00 00 09 02 00 00 00 99", .decodeError),
            ("00 00 00 0c 02 00 00 00 00 53 99 45", .decodeError),
            ("00 00 00 0c 02 00 00 00 00 53 11 45", .invalidField),
            ("00 00 00 08 02 01 00 00", .framingError),
            ("00 00 00 0e 02 00 00 00 00 53 14 c0 04 01 a1 01", .decodeError),
        ] {
            let engine = Self.opened()
            var bytes = ByteBuffer(hex: hex)
            bytes.writeRepeatingByte(0, count: 16)
            engine.receive(bytes, now: 0)
            guard case .failed(let error)? = engine.nextEvent() else {
                Issue.record("accepted \(hex)")
                continue
            }
            #expect(error.condition == condition, "\(hex)")
            #expect(try Self.closeError(engine)?.condition == condition)
            #expect(engine.nextEvent() == nil)
        }
    }

    @Test func `performatives in the wrong state close with illegal-state`() throws {
        let begin = Performative.begin(Begin(nextOutgoingID: 0, incomingWindow: 1, outgoingWindow: 1))
        let others: [Performative] = [
            .attach(Attach(name: "a", handle: 0, role: .receiver)), .transfer(Transfer(handle: 0)),
            .detach(Detach(handle: 0)),
            .flow(Flow(nextIncomingID: nil, incomingWindow: 1, nextOutgoingID: 0, outgoingWindow: 1)), .end(End()),
            .disposition(Disposition(role: .receiver, first: 0)),
        ]
        for performative in others {
            let engine = Self.opened()
            _ = engine.receive(performative)
            #expect(try Self.closeError(engine)?.condition == .illegalState)
        }
        for performative in others + [begin] {
            let engine = Self.server()
            var bytes = ByteBuffer()
            ProtocolHeader.amqp.write(to: &bytes)
            engine.receive(bytes, now: 0)
            _ = engine.receive(performative)
            // The open comes before the close also when the peer never sent one.
            let frames = try Self.frames(engine.takeOutput(now: 0))
            var (first, last) = (try #require(frames.first).body, try #require(frames.last).body)
            guard case .open = try Performative(body: &first), case .close(let close) = try Performative(body: &last)
            else {
                Issue.record("no open and close")
                continue
            }
            #expect(close.error?.condition == .illegalState)
        }
        let twice = Self.opened()
        _ = twice.receive(.open(Open(containerID: "again")))
        #expect(try Self.closeError(twice)?.condition == .illegalState)
        let sameChannel = Self.opened()
        _ = sameChannel.receive(begin)
        _ = sameChannel.receive(begin)
        #expect(try Self.closeError(sameChannel)?.condition == .illegalState)
    }

    @Test func `channels and handles beyond the announced maximum close with framing-error`() throws {
        let begin = Performative.begin(Begin(nextOutgoingID: 0, incomingWindow: 1, outgoingWindow: 1))
        let channel = Self.opened()
        _ = channel.receive(begin, channel: 8_192)
        #expect(try Self.closeError(channel)?.condition == .framingError)
        let handle = Self.opened()
        _ = handle.receive(begin)
        _ = handle.receive(.attach(Attach(name: "a", handle: 262_144, role: .receiver)))
        #expect(try Self.closeError(handle)?.condition == .framingError)
    }

    @Test func `more sessions than allowed are ended with resource-limit-exceeded`() throws {
        var limits = AMQPLimits()
        limits.sessionsMax = 2
        let engine = Self.opened(limits)
        for channel in 0..<3 as Range<UInt16> {
            _ = engine.receive(.begin(Begin(nextOutgoingID: 0, incomingWindow: 1, outgoingWindow: 1)), channel: channel)
        }
        var last = try #require(try Self.frames(engine.takeOutput(now: 0)).last).body
        guard case .end(let end) = try Performative(body: &last) else {
            Issue.record("not ended")
            return
        }
        #expect(end.error?.condition == .resourceLimitExceeded)
        #expect(!engine.isClosed)
    }

    @Test func `a max-frame-size below 512 is refused`() throws {
        let engine = Self.server()
        var bytes = ByteBuffer()
        ProtocolHeader.amqp.write(to: &bytes)
        engine.receive(bytes, now: 0)
        var open = Open(containerID: "c")
        open.maxFrameSize = 511
        _ = engine.receive(.open(open))
        #expect(try Self.closeError(engine)?.condition == .frameSizeTooSmall)
    }

    @Test func `a mechanism that is not offered ends the connection`() throws {
        let pair = EnginePair(sasl: SASLInit(mechanism: "CRAM-MD5"))
        pair.run()
        #expect(pair.client.isClosed)
    }
}
