// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import AMQP
import Hub
import HubModel
import NIOCore

/// Writes stored events as AMQP messages: headers around pieces that are encoded already, and what the log assigned.
struct EventWriter {
    /// Keys and values of the annotations that the log assigns, with room for the values.
    private let template: ByteBuffer
    private let sequenceIndex: Int
    private let timeIndex: Int
    private let hubTimeIndex: Int
    private static let assignedPairs = 4

    init() {
        var template = ByteBuffer()
        // The wide forms, so that every value has its place; readers check the type, not the form.
        template.writeAMQPSymbol("x-opt-sequence-number")
        template.writeAMQPLong(0, .wide)
        sequenceIndex = template.writerIndex - 8
        template.writeAMQPSymbol("x-opt-enqueued-time")
        template.writeAMQPTimestamp(0)
        timeIndex = template.writerIndex - 8
        template.writeAMQPSymbol("iothub-enqueuedtime")
        template.writeAMQPTimestamp(0)
        hubTimeIndex = template.writerIndex - 8
        template.writeAMQPSymbol("x-opt-offset")
        self.template = template
    }

    /// Appends the message of one event to `buffer`.
    ///
    /// - Parameters:
    ///   - record: Where the pieces lie.
    ///   - entry: What the log assigned to the event.
    ///   - frame: The frame that holds both.
    ///   - metrics: An encoded section to begin with, or nothing.
    ///   - buffer: What to append to.
    @inline(__always)
    func write(
        _ record: EventRecord,
        _ entry: EventFrame.Entry,
        of frame: EventFrame,
        metrics: ByteBuffer?,
        into buffer: inout ByteBuffer
    ) {
        if let metrics { buffer.writeImmutableBuffer(metrics) }
        let records = frame.records
        records.withUnsafeReadableBytes { bytes in
            let base = records.readerIndex
            func write(_ piece: EventRecord.Piece, _ buffer: inout ByteBuffer) {
                let start = piece.start - base
                buffer.writeBytes(UnsafeRawBufferPointer(rebasing: bytes[start..<start + piece.count]))
            }
            let offset = UInt64(max(0, entry.offset))
            buffer.writeAMQPMapSectionHeader(
                .messageAnnotations,
                items: (record.stampPairs + record.ownAnnotationPairs + Self.assignedPairs) * 2,
                bytes: record.stamp.count + record.ownAnnotations.count + template.readableBytes + 2
                    + Self.digits(offset)
            )
            write(record.stamp, &buffer)
            write(record.ownAnnotations, &buffer)
            let start = buffer.writerIndex
            buffer.writeImmutableBuffer(template)
            buffer.setInteger(entry.sequenceNumber, at: start + sequenceIndex)
            buffer.setInteger(frame.enqueuedTimeMilliseconds, at: start + timeIndex)
            buffer.setInteger(frame.enqueuedTimeMilliseconds, at: start + hubTimeIndex)
            buffer.writeAMQPDecimalString(offset)
            write(record.properties, &buffer)
            if record.applicationPropertyCount > 0 {
                let piece = record.applicationProperties
                buffer.writeAMQPMapSectionHeader(
                    .applicationProperties,
                    items: record.applicationPropertyCount * 2,
                    bytes: piece.count
                )
                write(piece, &buffer)
            }
            buffer.writeAMQPDescriptor(0x75)
            buffer.writeAMQPBinaryHeader(length: record.body.count)
            write(record.body, &buffer)
        }
    }

    private static func digits(_ value: UInt64) -> Int {
        var digits = 1
        var rest = value / 10
        while rest > 0 {
            digits += 1
            rest /= 10
        }
        return digits
    }

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
