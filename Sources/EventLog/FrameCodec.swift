// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import CCRC32C
import NIOCore

/// Frames to bytes and back; no I/O.
enum FrameCodec {
    /// An empty buffer with room for a frame, its header still zeros; append the payload, then `seal` it.
    static func begin(payloadBytes: Int) -> ByteBuffer {
        var buffer = ByteBufferAllocator().buffer(capacity: FrameHeader.frameBytes(payload: payloadBytes))
        buffer.writeRepeatingByte(0, count: FrameHeader.bytes)
        return buffer
    }

    /// Fills up the payload, and writes header and checksum.
    static func seal(_ buffer: inout ByteBuffer, _ header: FrameHeader) {
        buffer.writeRepeatingByte(0, count: header.frameBytes - buffer.readableBytes)
        writeHeader(header, to: &buffer)
        let sum = buffer.withUnsafeReadableBytes { checksum($0) }
        buffer.setInteger(sum, at: 60)
    }

    private static func writeHeader(_ header: FrameHeader, to buffer: inout ByteBuffer) {
        buffer.setInteger(FrameHeader.magic, at: 0)
        buffer.setInteger(FrameHeader.version, at: 4)
        buffer.setInteger(header.kind.rawValue, at: 5)
        buffer.setInteger(UInt16(header.partition), at: 6)
        buffer.setInteger(UInt32(header.payloadBytes), at: 8)
        buffer.setInteger(UInt32(header.count), at: 12)
        buffer.setInteger(header.position.rawValue, at: 16)
        buffer.setInteger(header.durable.rawValue, at: 24)
        buffer.setInteger(header.firstSequence, at: 32)
        buffer.setInteger(header.firstOffset, at: 40)
        buffer.setInteger(header.milliseconds, at: 48)
        buffer.setInteger(UInt32(header.publicCount), at: 56)
    }

    /// The frame at the start of these bytes, if there is a whole and undamaged one that belongs at this position.
    static func decode(_ bytes: UnsafeRawBufferPointer, at position: LogPosition) -> FrameHeader? {
        // The position check comes before the checksum: it is what refuses stale bytes of a recycled file cheaply.
        guard bytes.count >= FrameHeader.bytes,
            load(bytes, 0, UInt32.self) == FrameHeader.magic,
            load(bytes, 16, UInt64.self) == position.rawValue,
            bytes[4] == FrameHeader.version,
            let kind = FrameKind(rawValue: bytes[5])
        else { return nil }
        let header = FrameHeader(
            kind: kind,
            partition: Int(load(bytes, 6, UInt16.self)),
            payloadBytes: Int(load(bytes, 8, UInt32.self)),
            count: Int(load(bytes, 12, UInt32.self)),
            position: position,
            durable: LogPosition(rawValue: load(bytes, 24, UInt64.self)),
            firstSequence: load(bytes, 32, Int64.self),
            firstOffset: load(bytes, 40, Int64.self),
            milliseconds: load(bytes, 48, Int64.self),
            publicCount: Int(load(bytes, 56, UInt32.self))
        )
        guard header.frameBytes <= bytes.count,
            checksum(UnsafeRawBufferPointer(rebasing: bytes[..<header.frameBytes])) == load(bytes, 60, UInt32.self)
        else { return nil }
        return header
    }

    /// Whether the bytes begin like a frame of this position, damaged or not.
    static func claims(_ bytes: UnsafeRawBufferPointer, _ position: LogPosition) -> Bool {
        bytes.count >= FrameHeader.bytes && load(bytes, 0, UInt32.self) == FrameHeader.magic
            && load(bytes, 16, UInt64.self) == position.rawValue
    }

    /// What a concatenation of records holds; nil when lengths lie.
    static func survey(_ records: UnsafeRawBufferPointer) -> RecordSurvey? {
        var survey = RecordSurvey()
        var start = 0
        while start < records.count {
            guard start + AppendBatch.recordHeaderBytes <= records.count else { return nil }
            let rest = UnsafeRawBufferPointer(rebasing: records[start...])
            survey.count += 1
            if load(rest, 4, UInt32.self) & DestinationSet.events.rawValue != 0 {
                survey.publicCount += 1
                survey.lastPublicStart = start
            }
            start += AppendBatch.recordHeaderBytes + Int(load(rest, 0, UInt32.self))
        }
        return start == records.count ? survey : nil
    }

    private static func checksum(_ frame: UnsafeRawBufferPointer) -> UInt32 {
        let header = roost_crc32c(0, frame.baseAddress, 60)
        let payload = UnsafeRawBufferPointer(rebasing: frame[FrameHeader.bytes...])
        return roost_crc32c(header, payload.baseAddress, payload.count)
    }

    private static func load<T: FixedWidthInteger>(_ bytes: UnsafeRawBufferPointer, _ at: Int, _: T.Type) -> T {
        T(bigEndian: bytes.loadUnaligned(fromByteOffset: at, as: T.self))
    }
}

/// What a concatenation of records holds.
struct RecordSurvey: Equatable {
    var count = 0
    var publicCount = 0
    /// Where the last event for the built-in endpoint starts; -1 when there is none.
    var lastPublicStart = -1
}
