// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import AMQP
import NIOCore
import Testing

/// Peers that break the rules: the right condition at the right scope, and nothing kept that grows.
@Suite struct AbuseTests {
    /// A server's engine with one session and links on which the peer sends.
    final class Victim {
        let engine: ConnectionEngine
        var links: [Link] = []
        var events: [ConnectionEvent] = []

        init(_ limits: AMQPLimits = AMQPLimits(), links count: Int = 1, credit: UInt32 = 100, isReceiver: Bool = false)
        {
            engine = ConnectionTests.opened(limits)
            _ = engine.receive(.begin(Begin(nextOutgoingID: 0, incomingWindow: 100, outgoingWindow: 100)))
            for handle in 0..<UInt32(count) {
                var attach = Attach(name: "link \(handle)", handle: handle, role: isReceiver ? .receiver : .sender)
                attach.initialDeliveryCount = isReceiver ? nil : 0
                guard case .attached(let link)? = engine.receive(.attach(attach)).first else { continue }
                engine.accept(link, with: engine.reply(to: link), credit: credit)
                links.append(link)
            }
            _ = engine.takeOutput(now: 0)
        }

        @discardableResult
        func transfer(
            _ id: UInt32?,
            handle: UInt32 = 0,
            tag: Int = 1,
            more: Bool = false,
            aborted: Bool = false,
            bytes: Int = 1
        ) -> [ConnectionEvent] {
            var transfer = Transfer(handle: handle)
            transfer.deliveryID = id
            transfer.deliveryTag = id.map { _ in ByteBuffer(repeating: 7, count: tag) }
            transfer.more = more
            transfer.aborted = aborted
            let told = engine.receive(.transfer(transfer), payload: ByteBuffer(repeating: 0, count: bytes))
            events += told
            return told
        }

        /// The condition with which the connection was closed.
        var failure: AMQPCondition? {
            for case .failed(let error) in events { return error.condition }
            return nil
        }

        /// The condition with which the session was ended.
        var sessionError: AMQPCondition? {
            for case .ended(_, _, let error?) in events { return error.condition }
            return nil
        }

        /// The condition with which a link was detached.
        var linkError: AMQPCondition? {
            for case .detached(_, let error?) in events { return error.condition }
            return nil
        }
    }

    @Test func `more frames than the window end the session, and another session goes on`() throws {
        var limits = AMQPLimits()
        limits.incomingWindow = 1
        let victim = Victim(limits)
        // The window is opened again after each frame; only a peer that never hears of it runs out.
        for id in 0..<50 as Range<UInt32> { victim.transfer(id) }
        #expect(victim.sessionError == nil)
        limits.incomingWindow = 0
        let closed = Victim(limits)
        _ = closed.engine.receive(.begin(Begin(nextOutgoingID: 0, incomingWindow: 1, outgoingWindow: 1)), channel: 1)
        closed.transfer(0)
        #expect(closed.sessionError == .windowViolation && closed.failure == nil)
        #expect(closed.engine.sessions.contains { $0.state == .active })
    }

    @Test(arguments: [33, 255, 60_000]) func `a giant delivery tag ends the session`(_ count: Int) {
        let victim = Victim()
        victim.transfer(0, tag: 32)
        #expect(victim.sessionError == nil)
        victim.transfer(1, tag: count)
        #expect(victim.sessionError == .invalidField && victim.failure == nil)
    }

    @Test func `a message against the direction of its link detaches it`() {
        let victim = Victim(isReceiver: true)
        victim.transfer(0)
        #expect(victim.linkError == .notAllowed && victim.sessionError == nil && victim.failure == nil)
    }

    @Test func `frames for handles that no link has end the session`() {
        let performatives: [Performative] = [
            .transfer(Transfer(handle: 9)),
            .flow(
                {
                    var flow = Flow(nextIncomingID: 1, incomingWindow: 1, nextOutgoingID: 0, outgoingWindow: 1)
                    flow.handle = 9
                    return flow
                }()
            ),
        ]
        for performative in performatives {
            let victim = Victim()
            victim.events += victim.engine.receive(performative)
            #expect(victim.sessionError == .unattachedHandle && victim.failure == nil)
        }
        let victim = Victim()
        victim.events += victim.engine.receive(.detach(Detach(handle: 9)))
        #expect(victim.sessionError == nil && victim.failure == nil)
    }

    @Test func `a delivery that never ends is given up after so many frames`() {
        var limits = AMQPLimits()
        limits.framesPerDeliveryMax = 100
        let victim = Victim(limits)
        victim.transfer(0, more: true)
        for _ in 0..<200 where victim.failure == nil { victim.transfer(nil, more: true, bytes: 0) }
        #expect(victim.failure == .resourceLimitExceeded)
    }

    @Test func `deliveries that never end are bounded over all links of all sessions`() {
        var limits = AMQPLimits()
        limits.incompleteDeliveryBytesMax = 100_000
        let victim = Victim(limits, links: 200)
        var held = 0
        for handle in 0..<200 as Range<UInt32> where victim.failure == nil {
            victim.transfer(handle, handle: handle, more: true, bytes: 1_000)
            held += 1
        }
        #expect(victim.failure == .resourceLimitExceeded && held == 101)
    }

    @Test func `an unfinished delivery holds its own bytes and not what was read with it`() throws {
        let victim = Victim()
        var attach = Transfer(handle: 0)
        attach.deliveryID = 0
        attach.deliveryTag = ByteBuffer(string: "t")
        attach.more = true
        var bytes = ByteBuffer()
        Frame.write(to: &bytes, channel: 0) { buffer in
            Performative.transfer(attach).encode(into: &buffer)
            buffer.writeRepeatingByte(1, count: 10)
        }
        bytes.writeImmutableBuffer(Self.heartbeats(bytes: 60_000))
        victim.engine.receive(bytes, now: 0)
        while let event = victim.engine.nextEvent() { victim.events.append(event) }
        victim.transfer(nil, bytes: 5)
        guard case .delivery(_, let delivery)? = victim.events.last else {
            Issue.record("no delivery")
            return
        }
        #expect(delivery.payload.readableBytes == 15)
        #expect(delivery.payload.storageCapacity < 1_000 && delivery.tag.storageCapacity < 1_000)
    }

    private static func heartbeats(bytes: Int) -> ByteBuffer {
        var buffer = ByteBuffer()
        for _ in 0..<bytes / 8 { Frame.write(to: &buffer) { _ in } }
        return buffer
    }

    @Test func `deliveries that nobody settles are bounded`() {
        var limits = AMQPLimits()
        limits.unsettledMax = 50
        let victim = Victim(limits, credit: 10_000)
        for id in 0..<60 as Range<UInt32> { victim.transfer(id) }
        #expect(victim.sessionError == .windowViolation && victim.failure == nil)
    }

    @Test func `aborting again and again costs credit and is no way around it`() {
        var limits = AMQPLimits()
        limits.creditOverrunMax = 5
        let victim = Victim(limits, credit: 0)
        for id in 0..<20 as Range<UInt32> { victim.transfer(id, aborted: true) }
        #expect(victim.linkError == .transferLimitExceeded)
    }

    @Test func `a delivery that begins within another one ends the session`() {
        let victim = Victim()
        victim.transfer(0, more: true)
        victim.transfer(1)
        #expect(victim.sessionError == .invalidField && victim.failure == nil)
    }

    @Test(arguments: [8, 31, 33, 200, 20_000])
    func `values that nest too deep close the connection`(_ depth: Int) {
        var value = AMQPValue.list([])
        for _ in 0..<min(depth, 200) { value = .list([value]) }
        var bytes = ByteBuffer()
        // Deeper ones are written by hand: each list32 has one item, and says the truth about its size.
        if depth > 200 {
            for level in (0..<3_000).reversed() {
                bytes.writeMultipleIntegers(UInt8(0xd0), UInt32(4 + level * 9 + 1), UInt32(1))
            }
            bytes.writeInteger(UInt8(0x45))
        } else {
            bytes.writeAMQPValue(value)
        }
        var body = ByteBuffer()
        body.writeAMQPDescriptor(0x11)
        // remote-channel, next-outgoing-id, windows, handle-max, capabilities, then properties
        var fields = ByteBuffer(bytes: [0x40, 0x43, 0x43, 0x43, 0x40, 0x40, 0x40])
        fields.writeMultipleIntegers(UInt8(0xd1), UInt32(4 + 3 + bytes.readableBytes), UInt32(2))
        fields.writeBytes([0xa3, 1, 0x61])
        fields.writeBuffer(&bytes)
        body.writeMultipleIntegers(UInt8(0xd0), UInt32(4 + fields.readableBytes), UInt32(8))
        body.writeBuffer(&fields)
        let engine = ConnectionTests.opened()
        var frame = ByteBuffer()
        Frame.write(to: &frame, channel: 0) { $0.writeBuffer(&body) }
        engine.receive(frame, now: 0)
        var failure: AMQPError?
        while let event = engine.nextEvent() { if case .failed(let error) = event { failure = error } }
        #expect(failure?.condition == (depth > 32 ? .decodeError : nil))
    }

    @Test func `arrays of nothing do not ask for memory`() {
        // 2^32-1 nulls in an array of 10 bytes.
        let engine = ConnectionTests.opened()
        engine.receive(
            ByteBuffer(
                hex:
                    "00 00 00 20 02 00 00 00 00 53 10 d0 00 00 00 0f 00 00 00 02 a1 01 61 f0 00 00 00 05 ff ff ff ff 40"
            ),
            now: 0
        )
        var failures: [AMQPCondition] = []
        while let event = engine.nextEvent() { if case .failed(let error) = event { failures.append(error.condition) } }
        #expect(failures.count == 1)
    }

    @Test(arguments: [0x34, 0x19, 0x2000]) func `states of other specifications cannot be decoded`(_ code: Int) {
        let victim = Victim()
        var body = ByteBuffer()
        body.writeAMQPComposite(0x15, count: 5) { buffer in
            buffer.writeAMQPBool(true)
            buffer.writeAMQPUInt(0)
            buffer.writeAMQPNull()
            buffer.writeAMQPBool(true)
            buffer.writeInteger(UInt8(0))
            buffer.writeAMQPULong(UInt64(code))
            buffer.writeAMQPList([])
        }
        var frame = ByteBuffer()
        Frame.write(to: &frame, channel: 0) { $0.writeBuffer(&body) }
        victim.engine.receive(frame, now: 0)
        while let event = victim.engine.nextEvent() { victim.events.append(event) }
        #expect(victim.failure == .decodeError)
    }

    @Test func `sessions and links that come and go leave nothing behind`() {
        let engine = ConnectionTests.opened()
        for round in 0..<2_000 {
            let channel = UInt16(round % 100)
            _ = engine.receive(.begin(Begin(nextOutgoingID: 0, incomingWindow: 9, outgoingWindow: 9)), channel: channel)
            var attach = Attach(name: "n\(round)", handle: UInt32(round), role: .sender)
            attach.initialDeliveryCount = 0
            for case .attached(let link) in engine.receive(.attach(attach), channel: channel) {
                engine.accept(link, with: engine.reply(to: link), credit: 10)
            }
            if round % 2 == 0 {
                _ = engine.receive(.detach(Detach(handle: UInt32(round), closed: true)), channel: channel)
            }
            _ = engine.receive(.end(End()), channel: channel)
            #expect(engine.sessions.isEmpty)
            _ = engine.takeOutput(now: 0)
        }
        // All places are free: as many links as the limit allows can be attached at once.
        _ = engine.receive(.begin(Begin(nextOutgoingID: 0, incomingWindow: 9, outgoingWindow: 9)))
        var accepted = 0
        for handle in 0..<UInt32(engine.limits.linksMax) {
            for case .attached(let link) in engine.receive(
                .attach(Attach(name: "\(handle)", handle: handle, role: .receiver))
            ) {
                engine.accept(link, with: engine.reply(to: link))
                accepted += 1
            }
            _ = engine.takeOutput(now: 0)
        }
        #expect(accepted == engine.limits.linksMax)
    }
}
