// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import AMQP
import HubClient
import NIOCore
import Testing

@testable import roost

@Suite struct EventTextTests {
    /// An event as the hub sends it.
    private func event(
        body: ByteBuffer,
        contentType: String? = nil,
        properties: AMQPMap? = nil
    ) throws -> ReceivedEvent {
        var message = Message()
        message.messageAnnotations = [
            .symbol("iothub-connection-device-id"): .string("dev\u{1B}1"),
            .symbol("x-opt-sequence-number"): .long(72),
            .symbol("x-opt-offset"): .string("37344"),
            .symbol("x-opt-enqueued-time"): .timestamp(1_700_000_000_015),
        ]
        var standard = MessageProperties()
        standard.contentType = contentType
        standard.messageID = .string("m-1")
        message.properties = standard
        message.applicationProperties = properties
        message.body = .data(body)
        let sections = try MessageSections(payload: message.encoded)
        return try ReceivedEvent(ArrivedEvent(partition: "3", sections: sections))
    }

    @Test func `a line has place, time, device, properties and body, with nothing that steers a terminal`() throws {
        let event = try event(body: ByteBuffer(string: "hot\u{7}"), properties: [.string("a"): .string("b")])
        #expect(EventText.line(event) == "3/72  2023-11-14T22:13:20.015Z  dev\\u{1b}1  {a=b}  hot\\u{7}")
    }

    @Test func `bodies that are not text are counted, empty ones said to be`() throws {
        #expect(EventText.line(try event(body: ByteBuffer(bytes: [0xFF, 0xFE]))).hasSuffix("  (2 bytes)"))
        #expect(EventText.line(try event(body: ByteBuffer())).hasSuffix("  (empty)"))
    }

    @Test(arguments: [
        (Array(#"{"t": 1.50}"#.utf8), "application/json", #""body":{"t":1.50}"#),
        (Array(#"{"t": "#.utf8), "application/json", #""body":"{\"t\": ""#),
        (Array(#"{"t":1}"#.utf8), nil, #""body":"{\"t\":1}""#),
        ([0xFF, 0x00], nil, #""bodyBase64":"/wA=""#),
    ])
    func `in JSON the body is what the event says it is`(_ body: [UInt8], _ contentType: String?, _ text: String) throws
    {
        let json = EventText.json(try event(body: ByteBuffer(bytes: body), contentType: contentType))
        #expect(json.hasSuffix(text + "}"), "\(json)")
        #expect(json.hasPrefix(#"{"partition":"3","sequenceNumber":72,"offset":"37344","enqueuedTime":"2023-11-14T"#))
        #expect(json.contains(#""properties":{"message-id":"m-1""#))
    }

    @Test func `an event without a sequence number is not taken for one`() throws {
        let sections = try MessageSections(payload: Message().encoded)
        #expect(throws: HubClientError.self) { try ReceivedEvent(ArrivedEvent(partition: "0", sections: sections)) }
    }

    @Test(arguments: [
        ("start", EventPosition.earliest),
        ("end", .latest),
        ("sequence:12", .sequenceNumber(12)),
        ("offset:345", .offset(345)),
        ("time:2023-11-14T22:13:20Z", .enqueued(millisecondsSince1970: 1_700_000_000_000)),
        ("time:2023-11-14T22:13:20.015Z", .enqueued(millisecondsSince1970: 1_700_000_000_015)),
        ("time:2023-11-14", .enqueued(millisecondsSince1970: 1_699_920_000_000)),
    ])
    func `positions are read`(_ text: String, _ position: EventPosition) throws {
        #expect(try EventPosition(option: text) == position)
    }

    @Test(arguments: ["", "begin", "sequence:", "sequence:-1", "sequence:x", "time:yesterday", "offset:1.5"])
    func `what is no position is refused`(_ text: String) {
        #expect(throws: (any Error).self) { try EventPosition(option: text) }
    }
}
