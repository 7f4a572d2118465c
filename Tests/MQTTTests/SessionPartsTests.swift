// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import MQTT
import NIOCore
import Testing

@Suite struct AcknowledgementQueueTests {
    @Test func `acknowledgements leave in arrival order whatever completes first`() {
        var queue = AcknowledgementQueue()
        var out = ByteBuffer()
        queue.appendPuback(1)
        let suback = queue.appendSuback(2, returnCodes: [0, 1])
        queue.appendPuback(3)
        let unsuback = queue.appendUnsuback(4)
        #expect(queue.count == 4)
        queue.complete(first: 2, count: 1)
        queue.complete(first: unsuback, count: 1)
        #expect(queue.drain(into: &out) == 0)
        queue.complete(first: 0, count: 1)
        #expect(queue.drain(into: &out) == 1)
        #expect(out.bytes == hex("40 02 00 01").bytes)
        out.clear()
        queue.complete(first: suback, count: 1)
        #expect(queue.drain(into: &out) == 3)
        #expect(out.bytes == hex("90 04 00 02 00 01  40 02 00 03  b0 02 00 04").bytes)
        #expect(queue.count == 0)
        #expect(queue.nextNumber == 4)
    }

    @Test func `numbers go on however long the queue lives`() {
        var queue = AcknowledgementQueue()
        var out = ByteBuffer()
        for round in 0..<1000 {
            let first = queue.nextNumber
            for id in 1...7 { queue.appendPuback(UInt16(id)) }
            // One round behind, so that the queue never runs empty and must compact.
            if round > 0 { queue.complete(first: first - 7, count: 7) }
            #expect(queue.drain(into: &out) == (round > 0 ? 7 : 0))
            #expect(queue.count == 7)
        }
        #expect(out.readableBytes == 999 * 7 * 4)
    }

    @Test func `a SUBACK with very many codes has a length of two bytes`() throws {
        var queue = AcknowledgementQueue()
        let codes = [UInt8](repeating: 1, count: 300)
        let number = queue.appendSuback(9, returnCodes: codes)
        queue.complete(first: number, count: 1)
        var out = ByteBuffer()
        #expect(queue.drain(into: &out) == 1)
        #expect(try Packet.decode(from: &out, limits: MQTTLimits()) == .suback(Suback(packetID: 9, returnCodes: codes)))
    }
}

@Suite struct OutgoingWindowTests {
    @Test func `packet ids go round, skip what is in use and stop at the bound`() {
        var window = OutgoingWindow(countMax: 2)
        #expect(window.take(token: 10) == 1)
        for token in UInt64(0)..<65_534 {
            let id = window.take(token: token)
            #expect(id == UInt16(token + 2))
            if let id { #expect(window.acknowledge(id) == token) }
        }
        #expect(window.take(token: 7) == 2)
        #expect(window.take(token: 8) == nil)
        #expect(window.acknowledge(1) == 10)
        #expect(window.acknowledge(1) == nil)
        #expect(window.count == 1)
    }
}
