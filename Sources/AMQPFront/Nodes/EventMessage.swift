// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import AMQP
import Hub
import HubModel
import NIOCore

/// One stored event as an AMQP message: headers around pieces that are encoded already, and what the log assigned.
///
/// Its size is known before it is written, so that it is written into memory without further checks.
struct EventMessage {
    /// How many bytes the message has.
    let byteCount: Int

    private let record: EventRecord
    private let records: ByteBuffer
    private let metrics: ByteBuffer?
    private let sequenceNumber: Int64
    private let timeMilliseconds: Int64
    private let offset: UInt64
    private let offsetDigits: Int
    private let annotationItems: Int
    private let annotationBytes: Int

    /// Puts a message together.
    ///
    /// - Parameters:
    ///   - record: Where the pieces lie.
    ///   - entry: What the log assigned to the event.
    ///   - frame: The frame that holds both.
    ///   - metrics: An encoded section to begin with, or nothing.
    @inline(__always)
    init(_ record: EventRecord, _ entry: EventFrame.Entry, of frame: EventFrame, metrics: ByteBuffer?) {
        self.record = record
        self.metrics = metrics
        records = frame.records
        sequenceNumber = entry.sequenceNumber
        timeMilliseconds = frame.enqueuedTimeMilliseconds
        offset = UInt64(max(0, entry.offset))
        offsetDigits = AMQPRawWriter.digits(offset)
        annotationItems = (record.stampPairs + record.ownAnnotationPairs + Self.assignedPairs) * 2
        annotationBytes =
            record.stamp.count + record.ownAnnotations.count + Self.template.count + 2 + offsetDigits
        var bytes = metrics?.readableBytes ?? 0
        bytes += 3 + AMQPRawWriter.mapHeaderBytes(items: annotationItems, bytes: annotationBytes) + annotationBytes
        bytes += record.properties.count
        if record.applicationPropertyCount > 0 {
            let piece = record.applicationProperties.count
            bytes += 3 + AMQPRawWriter.mapHeaderBytes(items: record.applicationPropertyCount * 2, bytes: piece) + piece
        }
        bytes += 3 + AMQPRawWriter.binaryHeaderBytes(record.body.count) + record.body.count
        byteCount = bytes
    }

    /// Writes ``byteCount`` bytes and returns the place behind them.
    @inline(__always)
    func write(to start: UnsafeMutableRawPointer) -> UnsafeMutableRawPointer {
        var writer = AMQPRawWriter(start)
        metrics?.withUnsafeReadableBytes { writer.copy($0) }
        records.withUnsafeReadableBytes { bytes in
            let base = records.readerIndex
            func piece(_ piece: EventRecord.Piece) -> UnsafeRawBufferPointer {
                UnsafeRawBufferPointer(rebasing: bytes[piece.start - base..<piece.start - base + piece.count])
            }
            writer.descriptor(AMQPMapSection.messageAnnotations.rawValue)
            writer.mapHeader(items: annotationItems, bytes: annotationBytes)
            writer.copy(piece(record.stamp))
            writer.copy(piece(record.ownAnnotations))
            writeAssigned(&writer)
            writer.copy(piece(record.properties))
            if record.applicationPropertyCount > 0 {
                let entries = piece(record.applicationProperties)
                writer.descriptor(AMQPMapSection.applicationProperties.rawValue)
                writer.mapHeader(items: record.applicationPropertyCount * 2, bytes: entries.count)
                writer.copy(entries)
            }
            writer.descriptor(Self.dataDescriptor)
            writer.binaryHeader(record.body.count)
            writer.copy(piece(record.body))
        }
        return writer.next
    }

    @inline(__always)
    private func writeAssigned(_ writer: inout AMQPRawWriter) {
        let start = writer.next
        Self.template.withUnsafeBytes { writer.copy($0) }
        (start + Self.sequenceIndex).storeBytes(of: sequenceNumber.bigEndian, as: Int64.self)
        (start + Self.timeIndex).storeBytes(of: timeMilliseconds.bigEndian, as: Int64.self)
        (start + Self.hubTimeIndex).storeBytes(of: timeMilliseconds.bigEndian, as: Int64.self)
        writer.decimalString(offset, digits: offsetDigits)
    }

    private static let dataDescriptor: UInt8 = 0x75

    /// Sequence number, offset, and the time twice.
    private static let assignedPairs = 4
    /// Keys and values of the annotations that the log assigns, with room for the values, up to the offset's value.
    ///
    /// The wide forms, so that every value has its place; readers check the type, not the form.
    private static let template: [UInt8] = {
        var template = ByteBuffer()
        template.writeAMQPSymbol("x-opt-sequence-number")
        template.writeAMQPLong(0, .wide)
        template.writeAMQPSymbol("x-opt-enqueued-time")
        template.writeAMQPTimestamp(0)
        template.writeAMQPSymbol("iothub-enqueuedtime")
        template.writeAMQPTimestamp(0)
        template.writeAMQPSymbol("x-opt-offset")
        return Array(template.readableBytesView)
    }()
    private static let sequenceIndex = 2 + 21 + 1
    private static let timeIndex = sequenceIndex + 8 + 2 + 19 + 1
    private static let hubTimeIndex = timeIndex + 8 + 2 + 19 + 1

    /// The section that tells a partition's end to readers that asked for it.
    static func metrics(_ info: PartitionInfo, nowMilliseconds: Int64) -> ByteBuffer {
        var message = Message()
        message.deliveryAnnotations = [
            .symbol("last_enqueued_sequence_number"): .long(info.lastSequenceNumber),
            .symbol("last_enqueued_offset"): .string(String(info.lastOffset)),
            .symbol("last_enqueued_time_utc"): .timestamp(info.lastEnqueuedTimeMilliseconds ?? 0),
            .symbol("runtime_info_retrieval_time_utc"): .timestamp(nowMilliseconds),
        ]
        return message.encoded
    }
}
