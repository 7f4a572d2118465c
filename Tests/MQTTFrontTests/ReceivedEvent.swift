// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import HubModel
import NIOCore
import Testing

@testable import Hub

/// An event as a reader would see it, taken from the records of a batch.
struct ReceivedEvent: Equatable {
    var annotations: [String: String] = [:]
    /// The fields of the properties section by their names.
    var properties: [String: String] = [:]
    var applicationProperties: [String: String] = [:]
    var body = ByteBuffer()

    var bodyText: String { String(buffer: body) }

    /// All events of some batches, in order.
    static func all(of batches: [EventBatch]) throws -> [ReceivedEvent] {
        try batches.flatMap { batch in
            let frame = EventFrame(
                enqueuedTimeMilliseconds: 0,
                firstSequenceNumber: 0,
                firstOffset: 0,
                records: batch.records
            )
            return try frame.entries.map { entry in
                let record = try Self.some(
                    EventRecord(in: batch.records, payloadAt: entry.payloadStart, count: entry.payloadCount)
                )
                return try ReceivedEvent(record, batch.records)
            }
        }
    }

    private init(_ record: EventRecord, _ records: ByteBuffer) throws {
        func piece(_ piece: EventRecord.Piece) throws -> ByteBuffer {
            try Self.some(records.getSlice(at: piece.start, length: piece.count))
        }
        for entries in [try piece(record.stamp), try piece(record.ownAnnotations)] {
            annotations.merge(try Self.pairs(entries)) { $1 }
        }
        let application = try Self.pairs(try piece(record.applicationProperties))
        #expect(application.count == record.applicationPropertyCount)
        applicationProperties = Dictionary(uniqueKeysWithValues: application)
        body = try piece(record.body)
        var section = try piece(record.properties)
        guard section.readableBytes > 0 else { return }
        let names = [
            "message-id", "user-id", "to", "subject", "reply-to", "correlation-id", "content-type", "content-encoding",
            "absolute-expiry-time",
        ]
        #expect(section.readBytes(length: 4) == [0x00, 0x53, 0x73, 0xD0])
        section.moveReaderIndex(forwardBy: 4)
        let count = try Self.some(section.readInteger(as: UInt32.self))
        for name in names.prefix(Int(count)) {
            if let value = try Self.value(&section) { properties[name] = value }
        }
        #expect(section.readableBytes == 0)
    }

    private struct Missing: Error {}

    private static func some<Value>(_ value: Value?) throws -> Value {
        guard let value else { throw Missing() }
        return value
    }

    private static func pairs(_ entries: ByteBuffer) throws -> [(String, String)] {
        var entries = entries
        var pairs: [(String, String)] = []
        while entries.readableBytes > 0 {
            pairs.append((try Self.some(try value(&entries)), try Self.some(try value(&entries))))
        }
        return pairs
    }

    private static func value(_ buffer: inout ByteBuffer) throws -> String? {
        let code = try Self.some(buffer.readInteger(as: UInt8.self))
        switch code {
        case 0x40: return nil
        case 0xA0, 0xA1, 0xA3:
            return String(buffer: try Self.some(buffer.readLengthPrefixedSlice(as: UInt8.self)))
        case 0xB0, 0xB1, 0xB3:
            return String(buffer: try Self.some(buffer.readLengthPrefixedSlice(as: UInt32.self)))
        case 0x83: return "\(try Self.some(buffer.readInteger(as: Int64.self)))"
        default:
            Issue.record("unexpected AMQP type \(code)")
            return nil
        }
    }
}
