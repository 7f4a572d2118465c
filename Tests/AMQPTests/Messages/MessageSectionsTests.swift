// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import AMQP
import NIOCore
import Testing

@Suite struct MessageSectionsTests {
    @Test func `the event of the wire page is cut into slices`() throws {
        var bytes = Vector.named("event_hubs 12.5 event")
        var body = try #require(try Frame.read(from: &bytes, bytesMax: 65_536)).body
        _ = try Performative(body: &body)
        let sections = try MessageSections(payload: body)
        #expect(sections.messageAnnotations?.items == 16)
        #expect(try sections.messageAnnotations?.decoded()["x-opt-offset"] == .string("37344"))
        #expect(try sections.applicationProperties?.decoded() == [.string("alert"): .string("false")])
        #expect(sections.body == .data(ByteBuffer(string: #"{"t":21}"#)))
        #expect(sections.deliveryAnnotations == nil)
        let properties = try MessageProperties(list: try #require(sections.properties))
        #expect(properties.contentType == "application/json")
        #expect(properties.messageID == .string("m-1"))
    }

    @Test func `sections are taken in any order`() throws {
        var payload = ByteBuffer()
        payload.writeAMQPDataSection(ByteBuffer(string: "b"))
        var properties = MessageProperties()
        properties.to = "x"
        properties.encode(into: &payload)
        let message = try Message(payload: payload)
        #expect(message.body == .data(ByteBuffer(string: "b")))
        #expect(message.properties == properties)
    }

    @Test func `several data sections are kept apart, other mixtures refused`() throws {
        var payload = ByteBuffer()
        for text in ["1", "2", "3"] { payload.writeAMQPDataSection(ByteBuffer(string: text)) }
        let sections = try MessageSections(payload: payload)
        #expect(sections.body == .dataSections(["1", "2", "3"].map { ByteBuffer(string: $0) }))
        payload.writeAMQPDescriptor(0x77)
        payload.writeAMQPNull()
        #expect(throws: AMQPDecodeError.inconsistentSize) { try MessageSections(payload: payload) }
        #expect(throws: AMQPDecodeError.unknownDescriptor) {
            try MessageSections(payload: ByteBuffer(hex: "00 53 79 40"))
        }
        let twice = ByteBuffer(hex: "00 53 74 c1 01 00 00 53 74 c1 01 00")
        #expect(throws: AMQPDecodeError.inconsistentSize) { try MessageSections(payload: twice) }
    }

    @Test func `map headers written around encoded entries equal those of the map`() throws {
        for count in [0, 3, 60] {
            var entries = ByteBuffer()
            var map = AMQPMap()
            for index in 0..<count {
                entries.writeAMQPSymbol("key")
                entries.writeAMQPLong(Int64(index))
                map.append(.symbol("key"), .long(Int64(index)))
            }
            var built = ByteBuffer()
            built.writeAMQPMapSectionHeader(.messageAnnotations, items: count * 2, bytes: entries.readableBytes)
            built.writeImmutableBuffer(entries)
            var message = Message()
            message.messageAnnotations = map
            #expect(built == message.encoded)
        }
    }

    @Test func `text that is no symbol is written so that a peer can read it`() throws {
        var message = Message()
        message.properties = MessageProperties()
        message.properties?.contentType = "text/ü"
        #expect(try Message(payload: message.encoded).properties?.contentType == "text/??")
    }

    @Test func `plain credentials survive and broken ones are refused`() {
        let credentials = PlainCredentials(name: "service", password: "a=b")
        #expect(PlainCredentials(initialResponse: credentials.initialResponse) == credentials)
        for text in ["", "a", "\0a", "\0\0b", "\0a\0", "\0a\0b\0c"] {
            #expect(PlainCredentials(initialResponse: ByteBuffer(string: text)) == nil)
        }
    }
}
