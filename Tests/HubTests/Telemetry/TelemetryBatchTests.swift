// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import HubModel
import NIOCore
import Testing

@testable import Hub

struct TelemetryBatchTests {
    private static let identity = AuthenticatedIdentity(
        id: IdentityID(device: "dev1"),
        generationID: "638300000000000000",
        proof: .identityKey(.primary),
        expiresAtSeconds: nil
    )

    private func makeBatch(messageSizeMax: Int = 262_144) -> TelemetryBatch {
        TelemetryBatch(
            stamp: TelemetryStamp(Self.identity, partitionCount: 4),
            messageSizeMax: messageSizeMax,
            allocator: ByteBufferAllocator(),
            capacity: 64
        )
    }

    private func records(of batch: consuming TelemetryBatch) throws -> [(EventRecord, ByteBuffer)] {
        let batch = batch.eventBatch()
        let frame = EventFrame(
            enqueuedTimeMilliseconds: 0,
            firstSequenceNumber: 0,
            firstOffset: 0,
            records: batch.records
        )
        return try frame.entries.map { entry in
            let record = try #require(
                EventRecord(in: batch.records, payloadAt: entry.payloadStart, count: entry.payloadCount)
            )
            return (record, batch.records)
        }
    }

    private func bytes(_ piece: EventRecord.Piece, _ records: ByteBuffer) -> [UInt8] {
        records.getBytes(at: piece.start, length: piece.count) ?? []
    }

    private func text(_ piece: EventRecord.Piece, _ records: ByteBuffer) -> String {
        String(decoding: bytes(piece, records), as: UTF8.self)
    }

    private func add(_ batch: inout TelemetryBatch, _ name: String, _ value: String) {
        Array(name.utf8).withUnsafeBytes { name in
            Array(value.utf8).withUnsafeBytes { value in batch.applicationProperty(name, value) }
        }
    }

    private func set(_ batch: inout TelemetryBatch, _ property: SystemProperty, _ value: String) {
        Array(value.utf8).withUnsafeBytes { batch.systemProperty(property, $0) }
    }

    @Test func `only the first message of a batch holds the stamp and all point to it`() throws {
        var batch = makeBatch()
        for body in ["a", "bb", ""] {
            batch.begin()
            let finished = batch.finish(body: ByteBuffer(string: body))
            #expect(finished)
        }
        let read = try records(of: batch)
        #expect(read.map { text($0.0.body, $0.1) } == ["a", "bb", ""])
        #expect(Set(read.map(\.0.stamp)).count == 1)
        let stamp = try #require(read.first)
        #expect(stamp.0.stampPairs == 4)
        #expect(text(stamp.0.stamp, stamp.1).contains("iothub-connection-device-id\u{fffd}\u{4}dev1"))
    }

    @Test func `the stamp survives when the first message of a batch is taken back`() throws {
        var batch = makeBatch(messageSizeMax: 3)
        batch.begin()
        let first = batch.finish(body: ByteBuffer(string: "four"))
        #expect(!first)
        batch.begin()
        let second = batch.finish(body: ByteBuffer(string: "abc"))
        #expect(second)
        let read = try #require(try records(of: batch).first)
        #expect(text(read.0.body, read.1) == "abc")
        #expect(read.0.stampPairs == 4)
        #expect(text(read.0.stamp, read.1).contains("dev1"))
    }

    @Test func `the last of several properties of one name counts`() throws {
        var batch = makeBatch()
        batch.begin()
        add(&batch, "a", "1")
        add(&batch, "b", "2")
        add(&batch, "a", "3")
        let finished = batch.finish(body: ByteBuffer())
        #expect(finished)
        let read = try #require(try records(of: batch).first)
        #expect(read.0.applicationPropertyCount == 2)
        #expect(bytes(read.0.applicationProperties, read.1) == [0xa1, 1, 98, 0xa1, 1, 50, 0xa1, 1, 97, 0xa1, 1, 51])
    }

    @Test func `system properties become a properties section cut after the last field`() throws {
        var batch = makeBatch()
        batch.begin()
        set(&batch, .contentType, "t")
        set(&batch, .messageID, "m-1")
        set(&batch, .component, "thermostat")
        let finished = batch.finish(body: ByteBuffer())
        #expect(finished)
        let read = try #require(try records(of: batch).first)
        #expect(
            bytes(read.0.properties, read.1) == [
                0x00, 0x53, 0x73, 0xd0, 0, 0, 0, 17, 0, 0, 0, 7, 0xa1, 3, 109, 45, 49, 0x40, 0x40, 0x40, 0x40, 0x40,
                0xa3, 1, 116,
            ]
        )
        #expect(read.0.ownAnnotationPairs == 1)
        #expect(text(read.0.ownAnnotations, read.1).hasSuffix("thermostat"))
    }

    @Test func `a message counts its body and its properties against the size limit`() {
        var batch = makeBatch(messageSizeMax: 10)
        batch.begin()
        add(&batch, "ab", "cd")
        set(&batch, .messageID, "m")
        let fits = batch.finish(body: ByteBuffer(string: "12345"))
        #expect(fits)
        batch.begin()
        add(&batch, "ab", "cd")
        set(&batch, .messageID, "m")
        let isTooLarge = batch.finish(body: ByteBuffer(string: "123456"))
        #expect(!isTooLarge)
        #expect(batch.count == 1)
    }
}
