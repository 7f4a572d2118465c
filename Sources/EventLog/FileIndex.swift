// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import CCRC32C
import NIOCore

/// What one closed journal file holds: where the frames of each partition are, and the numbers of all partitions at its end.
///
/// The checkpoint of a file is this, encoded, beside it. It can always be made again by scanning the file.
struct FileIndex: Sendable {
    private static let magic: UInt32 = 0x5246_4958
    private static let version: UInt32 = 1
    private static let fixedBytes = 48
    private static let partitionBytes = PartitionCursor.encodedBytes + 4 + 48

    var epoch: UInt32
    /// First byte of the file that does not belong to the log.
    var endByte: Int
    /// Where the log was durable when the file was begun: the end of the file before it.
    var previous: LogPosition
    /// Enqueued time of the newest event in the file; -1 when there is none.
    var lastMilliseconds: Int64
    /// The numbers of all partitions at the end of the file.
    var cursors: [PartitionCursor]
    /// For each partition, its extent; nil when the file holds none of it.
    var extents: [Extent?]
    /// For each partition, its frames in order.
    var entries: [[FrameEntry]]

    init(epoch: UInt32, previous: LogPosition, endByte: Int, cursors: [PartitionCursor], entries: [[FrameEntry]]) {
        self.previous = previous
        self.epoch = epoch
        self.endByte = endByte
        self.cursors = cursors
        self.entries = entries
        extents = entries.map { Extent(epoch: epoch, entries: $0) }
        lastMilliseconds = entries.reduce(-1) { max($0, $1.last?.milliseconds ?? -1) }
    }

    var entryCount: Int { entries.reduce(0) { $0 + $1.count } }

    /// Bytes of the part that is read at start.
    static func headBytes(partitions: Int) -> Int { fixedBytes + partitions * partitionBytes + 4 }

    func encode() -> ByteBuffer {
        var buffer = ByteBufferAllocator().buffer(
            capacity: Self.headBytes(partitions: cursors.count) + entryCount * FrameEntry.encodedBytes + 4
        )
        buffer.writeMultipleIntegers(Self.magic, Self.version, epoch, UInt32(cursors.count))
        buffer.writeMultipleIntegers(Int64(endByte), lastMilliseconds, Int64(entryCount), previous.rawValue)
        for (partition, cursor) in cursors.enumerated() {
            cursor.encode(into: &buffer)
            buffer.writeInteger(UInt32(entries[partition].count))
            let extent = extents[partition]
            buffer.writeMultipleIntegers(extent?.firstSequence ?? -1, extent?.endSequence ?? -1)
            buffer.writeMultipleIntegers(extent?.firstOffset ?? -1, extent?.endOffset ?? -1)
            buffer.writeMultipleIntegers(extent?.firstMilliseconds ?? -1, extent?.lastMilliseconds ?? -1)
        }
        buffer.writeInteger(Self.checksum(buffer))
        let body = buffer.writerIndex
        for frames in entries {
            for frame in frames {
                buffer.writeMultipleIntegers(frame.position.rawValue, frame.firstSequence, frame.firstOffset)
                buffer.writeMultipleIntegers(frame.milliseconds, frame.payloadBytes, frame.publicCount, UInt64(0))
            }
        }
        if let entries = buffer.getSlice(at: body, length: buffer.writerIndex - body) {
            buffer.writeInteger(Self.checksum(entries))
        }
        return buffer
    }

    /// Reads the head, and the entries if the buffer has them too.
    ///
    /// Nil when it is damaged or belongs to another file.
    static func decode(_ source: ByteBuffer, epoch: UInt32, partitions: Int, withEntries: Bool) -> FileIndex? {
        var buffer = source
        let headBytes = headBytes(partitions: partitions)
        guard let head = buffer.getSlice(at: buffer.readerIndex, length: headBytes - 4),
            buffer.getInteger(at: buffer.readerIndex + headBytes - 4, as: UInt32.self) == checksum(head),
            let (magic, version, foundEpoch, foundPartitions) =
                buffer.readMultipleIntegers(as: (UInt32, UInt32, UInt32, UInt32).self),
            magic == Self.magic, version == Self.version, foundEpoch == epoch, foundPartitions == UInt32(partitions),
            let (endByte, lastMilliseconds, _, previous) =
                buffer.readMultipleIntegers(as: (Int64, Int64, Int64, UInt64).self)
        else { return nil }
        var index = FileIndex(
            epoch: epoch,
            previous: LogPosition(rawValue: previous),
            endByte: Int(endByte),
            cursors: [],
            entries: []
        )
        index.lastMilliseconds = lastMilliseconds
        var counts: [Int] = []
        for _ in 0..<partitions {
            guard let cursor = PartitionCursor(from: &buffer),
                let (count, a, b) = buffer.readMultipleIntegers(as: (UInt32, Int64, Int64).self),
                let (c, d, e, f) = buffer.readMultipleIntegers(as: (Int64, Int64, Int64, Int64).self)
            else { return nil }
            counts.append(Int(count))
            index.cursors.append(cursor)
            let extent = count == 0 ? nil : Extent(epoch: epoch, sequences: a..<b, offsets: c..<d, milliseconds: e...f)
            index.extents.append(extent)
        }
        guard withEntries else { return index }
        buffer.moveReaderIndex(forwardBy: 4)
        return index.decodeEntries(&buffer, counts) ? index : nil
    }

    private mutating func decodeEntries(_ buffer: inout ByteBuffer, _ counts: [Int]) -> Bool {
        let bytes = counts.reduce(0, +) * FrameEntry.encodedBytes
        guard let body = buffer.getSlice(at: buffer.readerIndex, length: bytes),
            buffer.getInteger(at: buffer.readerIndex + bytes, as: UInt32.self) == Self.checksum(body)
        else { return false }
        for count in counts {
            var frames: [FrameEntry] = []
            frames.reserveCapacity(count)
            for _ in 0..<count {
                guard let (position, sequence, offset) = buffer.readMultipleIntegers(as: (UInt64, Int64, Int64).self),
                    let (time, payload, count, _) = buffer.readMultipleIntegers(as: (Int64, Int32, Int32, UInt64).self)
                else { return false }
                frames.append(
                    FrameEntry(
                        position: LogPosition(rawValue: position),
                        payloadBytes: payload,
                        firstSequence: sequence,
                        firstOffset: offset,
                        milliseconds: time,
                        publicCount: count
                    )
                )
            }
            entries.append(frames)
        }
        return true
    }

    private static func checksum(_ buffer: ByteBuffer) -> UInt32 {
        buffer.withUnsafeReadableBytes { roost_crc32c(0, $0.baseAddress, $0.count) }
    }
}
