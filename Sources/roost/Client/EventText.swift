// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import AMQP
import FoundationEssentials
import HubClient
import JSON
import NIOCore

/// Events as text.
enum EventText {
    /// A line for people: partition, sequence number, time, device, properties, body.
    static func line(_ event: ReceivedEvent) -> String {
        let place = "\(event.partition)/\(event.sequenceNumber)"
        let device = printable(event.deviceID ?? "-")
        var parts = [place, time(event.enqueuedMilliseconds), device]
        let properties = event.applicationProperties.entries.map { entry in
            "\(printable(text(entry.key)))=\(printable(text(entry.value)))"
        }
        if !properties.isEmpty {
            parts.append("{\(properties.joined(separator: ", "))}")
        }
        parts.append(body(event.body))
        return parts.joined(separator: "  ")
    }

    /// The body for people: text as it is, or how many bytes there are of anything else.
    private static func body(_ bytes: ByteBuffer) -> String {
        guard bytes.readableBytes > 0 else { return "(empty)" }
        guard let text = String(validating: bytes.readableBytesView, as: UTF8.self) else {
            return "(\(grouped(bytes.readableBytes)) bytes)"
        }
        return printable(text)
    }

    /// One line of JSON.
    ///
    /// The body is a JSON value when the event says that it is JSON and it is, else a string when it is text, else
    /// base64 text under another name.
    static func json(_ event: ReceivedEvent) -> String {
        var writer = JSONWriter()
        writer.beginObject()
        writer.member("partition", event.partition)
        writer.member("sequenceNumber", event.sequenceNumber)
        writer.member("offset", event.offset)
        writer.member("enqueuedTime", time(event.enqueuedMilliseconds))
        writer.member("deviceId", event.deviceID)
        writer.name("annotations")
        write(event.annotations, to: &writer)
        writer.name("properties")
        write(standard(event.properties), to: &writer)
        writer.name("applicationProperties")
        write(event.applicationProperties, to: &writer)
        writeBody(of: event, to: &writer)
        writer.endObject()
        return String(buffer: writer.buffer)
    }

    private static func writeBody(of event: ReceivedEvent, to writer: inout JSONWriter) {
        let bytes = event.body
        let isJSON = event.properties.contentType?.lowercased().hasPrefix("application/json") == true
        if isJSON, let document = try? JSONDocument(parsing: bytes) {
            writer.name("body")
            writer.compactValue(document.root)
        } else if let text = String(validating: bytes.readableBytesView, as: UTF8.self) {
            writer.member("body", text)
        } else {
            writer.member("bodyBase64", Data(bytes.readableBytesView).base64EncodedString())
        }
    }

    private static func write(_ map: AMQPMap, to writer: inout JSONWriter) {
        writer.beginObject()
        for entry in map.entries {
            writer.name(text(entry.key))
            write(entry.value, to: &writer)
        }
        writer.endObject()
    }

    private static func write(_ value: AMQPValue, to writer: inout JSONWriter) {
        switch value {
        case .null: writer.null()
        case .bool(let value): writer.bool(value)
        case .ulong(let value): writer.int(value)
        case .map(let map): write(map, to: &writer)
        case .list(let values), .array(let values):
            writer.beginArray()
            for value in values {
                write(value, to: &writer)
            }
            writer.endArray()
        default:
            if let integer = value.integer {
                writer.int(integer)
            } else {
                writer.string(text(value))
            }
        }
    }

    /// The properties that are set, under their names on the wire.
    private static func standard(_ properties: MessageProperties) -> AMQPMap {
        let named: [(String, AMQPValue?)] = [
            ("message-id", properties.messageID),
            ("user-id", properties.userID.map { .binary($0) }),
            ("to", properties.to.map { .string($0) }),
            ("subject", properties.subject.map { .string($0) }),
            ("reply-to", properties.replyTo.map { .string($0) }),
            ("correlation-id", properties.correlationID),
            ("content-type", properties.contentType.map { .symbol($0) }),
            ("content-encoding", properties.contentEncoding.map { .symbol($0) }),
            ("absolute-expiry-time", properties.absoluteExpiryTime.map { .timestamp($0) }),
            ("creation-time", properties.creationTime.map { .timestamp($0) }),
        ]
        var map = AMQPMap()
        for case (let name, let value?) in named {
            map.append(.string(name), value)
        }
        return map
    }

    /// A value as text; times as ISO 8601, bytes as text where they are and base64 where not.
    static func text(_ value: AMQPValue) -> String {
        switch value {
        case .null: "null"
        case .bool(let value): "\(value)"
        case .string(let text), .symbol(let text): text
        case .timestamp(let milliseconds): time(milliseconds)
        case .uuid(let uuid): "\(uuid)"
        case .float(let value): "\(value)"
        case .double(let value): "\(value)"
        case .char(let value): Unicode.Scalar(value).map(String.init) ?? "\(value)"
        case .binary(let bytes):
            String(validating: bytes.readableBytesView, as: UTF8.self)
                ?? Data(bytes.readableBytesView).base64EncodedString()
        case .ulong(let value): "\(value)"
        case .list, .array, .map, .described, .decimal32, .decimal64, .decimal128: "\(value)"
        default: value.integer.map(String.init) ?? "\(value)"
        }
    }

    /// ISO 8601 in UTC with milliseconds.
    static func time(_ milliseconds: Int64) -> String {
        let date = Date(timeIntervalSince1970: Double(milliseconds) / 1000)
        return date.formatted(
            .iso8601.year().month().day().time(includingFractionalSeconds: true).timeZone(separator: .omitted)
        )
    }
}
