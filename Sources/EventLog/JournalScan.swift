// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import NIOCore

/// What the bytes of one journal file say; no I/O.
struct JournalScan {
    /// A valid frame; `snapshot` has the numbers of all partitions where the frame is one.
    struct Frame {
        var header: FrameHeader
        var snapshot: [PartitionCursor]?
        /// The partition's numbers after the frame, where it holds events.
        var cursor: PartitionCursor
    }

    let epoch: UInt32
    /// The valid frames that belong to the log, in order.
    private(set) var frames: [Frame] = []
    /// Ranges below a durable position that hold no valid frame: damage, never cut.
    private(set) var damage: [Range<Int>] = []
    /// What was torn after the last durable position, and is cut: nil when nothing was.
    private(set) var cut: Range<Int>?
    /// Every byte before this one is proved to have been durable.
    private(set) var durableByte = JournalFile.headerBytes

    /// First byte after the last frame that belongs to the log.
    var endByte: Int { max(frames.last?.header.end.byte ?? 0, damage.last?.upperBound ?? 0, JournalFile.headerBytes) }
    /// Whether the file holds anything of the log.
    var isLive: Bool { !frames.isEmpty || !damage.isEmpty }
    /// The durable position when the file was begun; nil when its first frame is damaged.
    var previous: LogPosition? {
        guard let first = frames.first, first.header.position.byte == JournalFile.headerBytes else { return nil }
        return first.header.durable
    }

    /// Scans a file.
    ///
    /// - Parameters:
    ///   - content: the whole file.
    ///   - epoch: the epoch in the file's name.
    ///   - partitions: how many partitions the log has.
    ///   - end: the end that the next file, or the file's index, has on record; all before it is durable and nothing behind
    ///     it counts. Nil for the newest file.
    init(_ content: ByteBuffer, epoch: UInt32, partitions: Int, end: Int?) {
        self.epoch = epoch
        var gaps: [Range<Int>] = []
        content.withUnsafeReadableBytes { bytes in
            let limit = end.map { min($0, bytes.count) } ?? bytes.count
            var byte = JournalFile.headerBytes
            while byte + FrameHeader.bytes <= limit {
                // Most of what is scanned is empty: look for the magic number before anything else.
                if bytes.loadUnaligned(fromByteOffset: byte, as: UInt32.self).bigEndian != FrameHeader.magic {
                    byte += FrameHeader.alignment
                    continue
                }
                let rest = UnsafeRawBufferPointer(rebasing: bytes[byte..<limit])
                if let frame = Self.frame(rest, at: LogPosition(epoch: epoch, byte: byte), partitions) {
                    let last = frames.last?.header.end.byte ?? JournalFile.headerBytes
                    if last < byte { gaps.append(last..<byte) }
                    frames.append(frame)
                    byte = frame.header.end.byte
                } else {
                    byte += FrameHeader.alignment
                }
            }
            // A frame that was begun here and did not get whole.
            let last = frames.last?.header.end.byte ?? JournalFile.headerBytes
            if last < limit {
                let rest = UnsafeRawBufferPointer(rebasing: bytes[last..<limit])
                if FrameCodec.claims(rest, LogPosition(epoch: epoch, byte: last)) {
                    cut = last..<last + FrameHeader.bytes
                }
            }
        }
        for frame in frames where frame.header.durable.epoch == epoch {
            durableByte = max(durableByte, frame.header.durable.byte)
        }
        settle(gaps, end: end)
        if end == nil { disownTornStart() }
    }

    /// A file whose first write was torn is none: what it was to carry over is still where it was.
    private mutating func disownTornStart() {
        guard let first = frames.first, first.snapshot != nil else { return }
        let startEnd = Int(first.header.firstOffset)
        if endByte < startEnd, durableByte < startEnd {
            frames = []
            cut = nil
        }
    }

    /// Tells damage from what was torn.
    private mutating func settle(_ gaps: [Range<Int>], end: Int?) {
        var gaps = gaps
        if let end {
            cut = nil
            durableByte = end
            let last = frames.last?.header.end.byte ?? JournalFile.headerBytes
            if last < end { gaps.append(last..<end) }
        }
        for gap in gaps {
            guard gap.lowerBound < durableByte else {
                let last = frames.last?.header.end.byte ?? gap.upperBound
                cut = gap.lowerBound..<last
                frames.removeAll { $0.header.position.byte >= gap.lowerBound }
                return
            }
            damage.append(gap)
        }
    }

    private static func frame(_ bytes: UnsafeRawBufferPointer, at position: LogPosition, _ partitions: Int) -> Frame? {
        guard let header = FrameCodec.decode(bytes, at: position), header.partition < partitions else { return nil }
        let payload = UnsafeRawBufferPointer(
            rebasing: bytes[FrameHeader.bytes..<FrameHeader.bytes + header.payloadBytes]
        )
        var cursor = PartitionCursor()
        if header.kind == .snapshot {
            guard let snapshot = PartitionCursor.decode(ByteBuffer(bytes: payload), count: partitions) else {
                return nil
            }
            return Frame(header: header, snapshot: snapshot, cursor: cursor)
        }
        guard let survey = FrameCodec.survey(payload) else { return nil }
        cursor.nextSequence = header.firstSequence + Int64(header.publicCount)
        cursor.nextOffset = header.firstOffset + Int64(header.payloadBytes)
        cursor.lastMilliseconds = header.milliseconds
        cursor.lastOffset = survey.lastPublicStart < 0 ? -1 : header.firstOffset + Int64(survey.lastPublicStart)
        return Frame(header: header, snapshot: nil, cursor: cursor)
    }

    /// The frames of events before a byte, for each partition.
    func entries(partitions: Int, before byte: Int) -> [[FrameEntry]] {
        var entries = [[FrameEntry]](repeating: [], count: partitions)
        for frame in frames where frame.snapshot == nil && frame.header.position.byte < byte {
            entries[frame.header.partition].append(FrameEntry(frame.header))
        }
        return entries
    }
}
