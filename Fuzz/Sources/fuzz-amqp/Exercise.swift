// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import AMQP
import NIOCore

/// Decodes bytes in every way that the first one does not exclude, and checks that what was decoded survives.
///
/// Shared by the fuzzer and the test that replays its finds.
func exerciseAMQP(_ bytes: [UInt8]) {
    guard let kind = bytes.first else { return }
    let body = ByteBuffer(bytes: bytes.dropFirst())
    switch kind % 5 {
    case 0: exerciseValue(body)
    case 1: exercisePerformative(body)
    case 2: exerciseSASL(body)
    case 3: exerciseSections(body)
    default: exerciseFrames(body)
    }
}

private func exerciseValue(_ body: ByteBuffer) {
    var reader = AMQPReader(body)
    var skipper = AMQPReader(body)
    do throws(AMQPDecodeError) {
        let value = try reader.readValue()
        try skipper.skipValue()
        precondition(
            skipper.buffer.readableBytes == reader.buffer.readableBytes,
            "skipping a value goes as far as reading it"
        )
        var encoded = ByteBuffer()
        encoded.writeAMQPValue(value)
        var again = AMQPReader(encoded)
        var encodedAgain = ByteBuffer()
        // Compared in encoded form, for a NaN is not equal to itself.
        encodedAgain.writeAMQPValue(try again.readValue())
        precondition(encodedAgain == encoded, "a decoded value survives a round trip")
        precondition(again.isAtEnd, "a value is one value")
    } catch {
        return
    }
}

private func exercisePerformative(_ body: ByteBuffer) {
    var body = body
    guard let performative = decode(&body) else { return }
    var encoded = ByteBuffer()
    performative.encode(into: &encoded)
    var rest = encoded
    guard let again = decode(&rest) else { preconditionFailure("an encoded performative can't be decoded") }
    var encodedAgain = ByteBuffer()
    again.encode(into: &encodedAgain)
    precondition(encodedAgain == encoded, "a decoded performative survives a round trip")
}

private func decode(_ body: inout ByteBuffer) -> Performative? {
    do {
        return try Performative(body: &body)
    } catch {
        return nil
    }
}

private func exerciseSASL(_ body: ByteBuffer) {
    do {
        let frame = try SASLFrame(body: body)
        if case .initiate(let choice) = frame, let response = choice.initialResponse {
            _ = PlainCredentials(initialResponse: response)
        }
    } catch {
        return
    }
}

private func exerciseSections(_ body: ByteBuffer) {
    do {
        let sections = try MessageSections(payload: body)
        let maps = [sections.messageAnnotations, sections.applicationProperties, sections.deliveryAnnotations]
        for case let map? in maps {
            _ = try map.decoded()
        }
    } catch {
        return
    }
}

private func exerciseFrames(_ body: ByteBuffer) {
    var buffer = body
    _ = ProtocolHeader.read(from: &buffer)
    do {
        while let frame = try Frame.read(from: &buffer, bytesMax: 4096) {
            precondition(frame.body.readableBytes <= 4096, "no frame is larger than agreed")
        }
    } catch {
        return
    }
}
