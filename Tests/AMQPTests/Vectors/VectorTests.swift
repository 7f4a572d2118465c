// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import AMQP
import NIOCore
import Testing

@Suite struct VectorTests {
    @Test(arguments: Vector.all.filter { $0.kind == .frame })
    func `frames decode, and encode to an equal frame`(_ vector: Vector) throws {
        var bytes = vector.bytes
        let frame = try #require(try Frame.read(from: &bytes, bytesMax: 65_536))
        #expect(bytes.readableBytes == 0)
        if frame.kind == .sasl {
            let sasl = try SASLFrame(body: frame.body)
            var again = ByteBuffer()
            Frame.write(to: &again, kind: .sasl) { sasl.encode(into: &$0) }
            #expect(again.hex == vector.bytes.hex)
            return
        }
        var body = frame.body
        let performative = try Performative(body: &body)
        if case .transfer = performative { _ = try MessageOrBatch(body) }
        var again = ByteBuffer()
        Frame.write(to: &again, channel: frame.channel) { buffer in
            performative.encode(into: &buffer)
            buffer.writeImmutableBuffer(body)
        }
        // What clients send may leave out trailing nulls or use wider forms; what hubs send is reproduced to the byte.
        let clients = ["put-token", "telemetry batch", "method response", "twin GET", "12.2 attach", "12.5 flow"]
        let isClients = clients.contains { vector.name.hasSuffix($0) }
        if !isClients { #expect(again.hex == vector.bytes.hex) }
        var rest = again
        let second = try #require(try Frame.read(from: &rest, bytesMax: 65_536))
        var secondBody = second.body
        #expect(try Performative(body: &secondBody) == performative)
        #expect(secondBody == body)
    }

    @Test(arguments: Vector.all.filter { $0.kind == .frame })
    func `every prefix of a frame asks for more`(_ vector: Vector) throws {
        let bytes = vector.bytes
        for length in 0..<bytes.readableBytes {
            var prefix = try #require(bytes.getSlice(at: 0, length: length))
            #expect(try Frame.read(from: &prefix, bytesMax: 65_536) == nil)
            #expect(prefix.readableBytes == length)
        }
    }

    @Test(arguments: Vector.all.filter { $0.kind == .frame })
    func `every prefix of a performative is an error and no crash`(_ vector: Vector) throws {
        var bytes = vector.bytes
        let frame = try #require(try Frame.read(from: &bytes, bytesMax: 65_536))
        guard frame.kind == .amqp else { return }
        var whole = frame.body
        _ = try Performative(body: &whole)
        let length = frame.body.readableBytes - whole.readableBytes
        for short in 0..<length {
            var prefix = try #require(frame.body.getSlice(at: frame.body.readerIndex, length: short))
            #expect(throws: AMQPDecodeError.self) { try Performative(body: &prefix) }
        }
    }

    @Test(arguments: Vector.all.filter { $0.kind == .payload })
    func `payloads decode, and encode to an equal message`(_ vector: Vector) throws {
        let message = try Message(payload: vector.bytes)
        #expect(try Message(payload: message.encoded) == message)
    }

    @Test func `the management responses are reproduced to the byte`() throws {
        // event_hubs 12.7: int, long and array of string in the forms that clients check.
        for name in ["event_hubs 12.7 event hub response", "event_hubs 12.7 partition response"] {
            let message = try Message(payload: Vector.named(name))
            #expect(message.applicationProperties?["status-code"] == .int(200))
            #expect(message.encoded.hex == Vector.named(name).hex)
        }
    }

    @Test(arguments: Vector.all.filter { $0.kind == .value })
    func `filter maps decode, and encode to equal bytes`(_ vector: Vector) throws {
        var reader = AMQPReader(vector.bytes)
        let map = try #require(try reader.readMap())
        var again = ByteBuffer()
        again.writeAMQPMap(map)
        #expect(again.hex == vector.bytes.hex)
    }

    /// A message, or a batch of encoded messages in data sections.
    struct MessageOrBatch {
        init(_ payload: ByteBuffer) throws {
            let sections = try MessageSections(payload: payload)
            guard case .dataSections(let all) = sections.body else { return }
            for inner in all { _ = try MessageSections(payload: inner) }
        }
    }
}
