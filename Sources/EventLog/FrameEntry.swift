// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

/// Where one frame of a partition is, for readers.
struct FrameEntry: Sendable, Equatable {
    /// Eight of them are kept for later.
    static let encodedBytes = 48

    var position: LogPosition
    var frameBytes: Int32
    var payloadBytes: Int32
    var firstSequence: Int64
    var firstOffset: Int64
    var milliseconds: Int64
    var publicCount: Int32

    init(_ header: FrameHeader) {
        position = header.position
        frameBytes = Int32(header.frameBytes)
        payloadBytes = Int32(header.payloadBytes)
        firstSequence = header.firstSequence
        firstOffset = header.firstOffset
        milliseconds = header.milliseconds
        publicCount = Int32(header.publicCount)
    }

    init(
        position: LogPosition,
        payloadBytes: Int32,
        firstSequence: Int64,
        firstOffset: Int64,
        milliseconds: Int64,
        publicCount: Int32
    ) {
        self.position = position
        self.frameBytes = Int32(FrameHeader.frameBytes(payload: Int(payloadBytes)))
        self.payloadBytes = payloadBytes
        self.firstSequence = firstSequence
        self.firstOffset = firstOffset
        self.milliseconds = milliseconds
        self.publicCount = publicCount
    }

    var endOffset: Int64 { firstOffset + Int64(payloadBytes) }
    var endSequence: Int64 { firstSequence + Int64(publicCount) }
}

/// What one closed file holds of one partition.
struct Extent: Sendable, Equatable {
    var epoch: UInt32
    var firstSequence: Int64
    var endSequence: Int64
    var firstOffset: Int64
    var endOffset: Int64
    var firstMilliseconds: Int64
    var lastMilliseconds: Int64

    /// Nil when there are no entries.
    init?(epoch: UInt32, entries: [FrameEntry]) {
        guard let first = entries.first, let last = entries.last else { return nil }
        self.epoch = epoch
        firstSequence = first.firstSequence
        endSequence = last.endSequence
        firstOffset = first.firstOffset
        endOffset = last.endOffset
        firstMilliseconds = first.milliseconds
        lastMilliseconds = last.milliseconds
    }

    init(
        epoch: UInt32,
        sequences: Range<Int64>,
        offsets: Range<Int64>,
        milliseconds: ClosedRange<Int64>
    ) {
        self.epoch = epoch
        firstSequence = sequences.lowerBound
        endSequence = sequences.upperBound
        firstOffset = offsets.lowerBound
        endOffset = offsets.upperBound
        firstMilliseconds = milliseconds.lowerBound
        lastMilliseconds = milliseconds.upperBound
    }
}
