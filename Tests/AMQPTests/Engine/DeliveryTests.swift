// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import AMQP
import NIOCore
import Testing

@Suite struct DeliveryTests {
    static func body(_ delivery: IncomingDelivery) throws -> ByteBuffer {
        guard case .data(let bytes) = try Message(payload: delivery.payload).body else { return ByteBuffer() }
        return bytes
    }

    @Test(arguments: [512, 4096, 65536] as [UInt32], [0, 100, 487, 488, 4000, 65_500, 200_000])
    func `event_hubs 038 amqp 013 amqp 052 a message of any size crosses in frames of the peer's size`(
        _ frame: UInt32,
        _ size: Int
    ) throws {
        var limits = AMQPLimits()
        limits.frameBytesMax = frame
        let pair = EnginePair(clientLimits: limits)
        let session = try pair.session()
        let (ours, theirs) = try pair.link(.receiver, on: session, credit: 4)
        _ = ours
        let bytes = ByteBuffer(bytes: (0..<size).map { UInt8(truncatingIfNeeded: $0 * 7) })
        pair.server.send(on: theirs, settled: true) { $0.writeAMQPDataSection(bytes) }
        var sent = pair.server.takeOutput(now: 0)
        let copy = sent
        while sent.readableBytes > 0 {
            let length = try #require(sent.getInteger(at: sent.readerIndex, as: UInt32.self))
            #expect(length <= frame)
            sent.moveReaderIndex(forwardBy: Int(length))
        }
        pair.client.receive(copy, now: 0)
        var received: [IncomingDelivery] = []
        while let event = pair.client.nextEvent() {
            if case .delivery(_, let delivery) = event { received.append(delivery) }
        }
        #expect(received.count == 1)
        #expect(received.first?.isSettled == true)
        #expect(try Self.body(try #require(received.first)) == bytes)
    }

    @Test func `a message larger than the session window waits for it, and nothing overtakes it on its link`() throws {
        var limits = AMQPLimits()
        limits.frameBytesMax = 512
        let pair = EnginePair(clientLimits: limits)
        pair.run()
        _ = pair.server.receive(.begin(Begin(nextOutgoingID: 0, incomingWindow: 3, outgoingWindow: 1)), channel: 5)
        var attach = Attach(name: "a", handle: 0, role: .receiver)
        attach.source = Source(address: "x")
        guard case .attached(let link)? = pair.server.receive(.attach(attach), channel: 5).first else { return }
        pair.server.accept(link, with: pair.server.reply(to: link))
        var flow = Flow(nextIncomingID: 1, incomingWindow: 3, nextOutgoingID: 0, outgoingWindow: 1)
        flow.handle = 0
        flow.linkCredit = 10
        _ = pair.server.receive(.flow(flow), channel: 5)
        _ = pair.server.takeOutput(now: 0)
        pair.server.send(String(repeating: "x", count: 5_000), on: link)
        #expect(!pair.server.canSend(on: link))
        var more: [Bool] = []
        while !pair.server.canSend(on: link), more.count < 100 {
            for frame in try ConnectionTests.frames(pair.server.takeOutput(now: 0)) {
                var body = frame.body
                if case .transfer(let transfer) = try Performative(body: &body) { more.append(transfer.more ?? false) }
            }
            #expect(more.count % 3 == 0)
            flow.nextIncomingID = UInt32(1 + more.count)
            flow.handle = nil
            _ = pair.server.receive(.flow(flow), channel: 5)
        }
        for frame in try ConnectionTests.frames(pair.server.takeOutput(now: 0)) {
            var body = frame.body
            if case .transfer(let transfer) = try Performative(body: &body) { more.append(transfer.more ?? false) }
        }
        #expect(more.last == false)
        #expect(more.dropLast().allSatisfy { $0 })
        #expect(more.count > 9)
        #expect(pair.server.canSend(on: link))
    }

    @Test func `amqp 052 an aborted delivery is discarded and the next one is whole`() throws {
        let pair = EnginePair()
        let session = try pair.session()
        let (_, theirs) = try pair.link(.sender, on: session)
        var transfer = Transfer(handle: 0)
        transfer.deliveryID = 0
        transfer.deliveryTag = ByteBuffer(string: "t")
        transfer.more = true
        #expect(pair.server.receive(.transfer(transfer), payload: ByteBuffer(hex: "00 53")).isEmpty)
        var abort = Transfer(handle: 0)
        abort.aborted = true
        #expect(pair.server.receive(.transfer(abort)).isEmpty)
        transfer.deliveryID = 1
        transfer.more = false
        guard
            case .delivery(let link, let delivery)? = pair.server.receive(
                .transfer(transfer),
                payload: ByteBuffer(hex: "00 53 77 40")
            ).first
        else {
            Issue.record("no delivery")
            return
        }
        #expect(link === theirs && delivery.id == 1)
    }

    @Test func `amqp 050 a message above the link's size detaches the link`() throws {
        let pair = EnginePair()
        pair.onAttach = { engine, link in
            var reply = engine.reply(to: link)
            reply.maxMessageSize = 1_000
            engine.accept(link, with: reply, credit: 10)
        }
        let session = try pair.session()
        let (ours, _) = try pair.link(.sender, on: session)
        pair.client.send(String(repeating: "x", count: 2_000), on: ours)
        pair.run()
        guard case .detached(_, let error)? = pair.clientEvents.last else {
            Issue.record("not detached")
            return
        }
        #expect(error?.condition == .messageSizeExceeded)
        #expect(session.state == .active)
    }

    @Test func `unfinished deliveries are bounded over all links`() throws {
        var limits = AMQPLimits()
        limits.incompleteDeliveryBytesMax = 1_000
        let engine = ConnectionTests.opened(limits)
        _ = engine.receive(.begin(Begin(nextOutgoingID: 0, incomingWindow: 1, outgoingWindow: 1)))
        for handle in 0..<6 as Range<UInt32> {
            var attach = Attach(name: "l\(handle)", handle: handle, role: .sender)
            attach.initialDeliveryCount = 0
            guard case .attached(let link)? = engine.receive(.attach(attach)).first else { return }
            engine.accept(link, with: engine.reply(to: link), credit: 1)
            var transfer = Transfer(handle: handle)
            transfer.deliveryID = handle
            transfer.deliveryTag = ByteBuffer(string: "t")
            transfer.more = true
            _ = engine.receive(.transfer(transfer), payload: ByteBuffer(repeating: 0, count: 200))
        }
        #expect(try ConnectionTests.closeError(engine)?.condition == .resourceLimitExceeded)
    }

    @Test func `dispositions of neighbours with the same outcome become one`() throws {
        let pair = EnginePair()
        let session = try pair.session()
        let (ours, theirs) = try pair.link(.sender, on: session)
        for _ in 0..<8 { pair.client.send("x", on: ours, settled: false) }
        pair.run()
        #expect(pair.deliveriesAtServer.count == 8)
        for id in 0..<4 as Range<UInt32> { pair.server.settle(id, on: theirs.session, .accepted) }
        pair.server.settle(4, on: theirs.session, .rejected(AMQPError(.internalError, "No.")))
        for id in 5..<8 as Range<UInt32> { pair.server.settle(id, on: theirs.session, .accepted) }
        pair.run()
        let ranges = pair.fromServer.compactMap {
            if case .disposition(let d) = $0 { [d.first, d.last ?? d.first] } else { nil }
        }
        #expect(ranges == [[0, 3], [4, 4], [5, 7]])
        let told = pair.clientEvents.compactMap { if case .disposition(_, let id, _, true) = $0 { id } else { nil } }
        #expect(told == Array(0..<8))
    }

    @Test func `event_hubs 020 a disposition is on the wire before a transfer that follows it`() throws {
        let pair = EnginePair()
        let session = try pair.session()
        let (ours, theirs) = try pair.link(.sender, name: "up", on: session)
        let (_, down) = try pair.link(.receiver, name: "down", on: session, credit: 5)
        pair.client.send("request", on: ours, settled: false)
        pair.run()
        let before = pair.fromServer.count
        pair.server.settle(0, on: theirs.session, .accepted)
        pair.server.send("response", on: down)
        pair.run()
        guard case .disposition? = pair.fromServer.dropFirst(before).first,
            case .transfer? = pair.fromServer.dropFirst(before + 1).first
        else {
            Issue.record("wrong order")
            return
        }
    }

    @Test func `amqp 056 a receiver that settles second is confirmed`() throws {
        let pair = EnginePair()
        let session = try pair.session()
        let (ours, theirs) = try pair.link(.receiver, on: session, credit: 5)
        _ = ours
        let id = pair.server.send(on: theirs, settled: false) { $0.writeAMQPDataSection(ByteBuffer(string: "x")) }
        let events = pair.server.receive(
            .disposition(Disposition(role: .receiver, first: id, settled: false, state: .accepted))
        )
        guard case .disposition(_, id, .accepted?, settled: false)? = events.first else {
            Issue.record("not told")
            return
        }
        pair.server.confirm(id, on: theirs.session, .accepted)
        pair.run()
        guard case .disposition(let confirmation)? = pair.fromServer.last else {
            Issue.record("not confirmed")
            return
        }
        #expect(confirmation.role == .sender && confirmation.settled == true && confirmation.state == .accepted)
        #expect(
            pair.server.receive(.disposition(Disposition(role: .receiver, first: id, settled: true, state: .accepted)))
                .isEmpty
        )
    }

    @Test func `ranges of dispositions may be absurd`() throws {
        let pair = EnginePair()
        let session = try pair.session()
        let (_, theirs) = try pair.link(.receiver, on: session, credit: 5)
        for _ in 0..<3 { pair.server.send("x", on: theirs, settled: false) }
        let all = Disposition(role: .receiver, first: 0, last: 0x7fff_ffff, settled: true, state: .accepted)
        #expect(pair.server.receive(.disposition(all)).count == 3)
        pair.server.send("x", on: theirs, settled: false)
        guard
            case .ended(_, _, let error)? = pair.server.receive(
                .disposition(Disposition(role: .receiver, first: 5, last: 4))
            ).first
        else {
            Issue.record("accepted")
            return
        }
        #expect(error?.condition == .invalidField)
    }

    @Test func `a first transfer without id or tag ends the session`() throws {
        let pair = EnginePair()
        let session = try pair.session()
        _ = try pair.link(.sender, on: session)
        guard
            case .ended(_, _, let error)? = pair.server.receive(
                .transfer(Transfer(handle: 0)),
                payload: ByteBuffer(hex: "00")
            ).first
        else {
            Issue.record("accepted")
            return
        }
        #expect(error?.condition == .invalidField)
    }
}

@Suite struct TransferRunTests {
    @Test func `a run writes the same bytes as messages sent one by one`() throws {
        var outputs: [String] = []
        for usesRun in [true, false] {
            let pair = EnginePair()
            let session = try pair.session()
            let (_, theirs) = try pair.link(.receiver, on: session, credit: 400)
            for size in [1, 200, 300, 5_000] {
                let text = ByteBuffer(repeating: 0x61, count: size)
                var payload = ByteBuffer()
                payload.writeAMQPDataSection(text)
                if usesRun {
                    var run = pair.server.beginRun(on: theirs)
                    for _ in 0..<70 {
                        run.send(payloadBytes: payload.readableBytes) { start in
                            var writer = AMQPRawWriter(start)
                            payload.withUnsafeReadableBytes { writer.copy($0) }
                            return writer.next
                        }
                    }
                    #expect(run.count == 70)
                    pair.server.endRun(run, on: theirs)
                } else {
                    for _ in 0..<70 {
                        pair.server.send(on: theirs, settled: true) { $0.writeImmutableBuffer(payload) }
                    }
                }
            }
            #expect(theirs.credit == 120 && theirs.deliveryCount == 280)
            let bytes = pair.server.takeOutput(now: 0)
            outputs.append(bytes.hex)
            pair.client.receive(bytes, now: 0)
            var ids: [UInt32] = []
            while let event = pair.client.nextEvent() {
                if case .delivery(_, let delivery) = event { ids.append(delivery.id) }
            }
            #expect(ids == (0..<280).map { UInt32($0) })
        }
        #expect(outputs[0] == outputs[1])
    }

    @Test func `a run ends with credit or window, whichever is less`() throws {
        let pair = EnginePair()
        let session = try pair.session()
        let (_, theirs) = try pair.link(.receiver, on: session, credit: 3)
        var run = pair.server.beginRun(on: theirs)
        var sent = 0
        while run.canSend {
            run.send(payloadBytes: 4) { start in
                var writer = AMQPRawWriter(start)
                writer.descriptor(0x77)
                writer.integer(UInt8(0x40))
                return writer.next
            }
            sent += 1
        }
        pair.server.endRun(run, on: theirs)
        #expect(sent == 3)
        #expect(!pair.server.canSend(on: theirs))
    }

    @Test(arguments: [0, 9, 10, 37344, UInt64.max])
    func `decimal digits are written as the string writer writes them`(_ value: UInt64) {
        var expected = ByteBuffer()
        expected.writeAMQPDecimalString(value)
        var buffer = ByteBuffer()
        buffer.writeWithUnsafeMutableBytes(minimumWritableBytes: 32) { room in
            guard let start = room.baseAddress else { return 0 }
            var writer = AMQPRawWriter(start)
            writer.decimalString(value, digits: AMQPRawWriter.digits(value))
            return writer.next - start
        }
        #expect(buffer == expected)
    }
}
