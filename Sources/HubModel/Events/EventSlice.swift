// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

public import NIOCore

/// Where a reader stands in a partition: the offset of the next record it has not seen.
public struct EventCursor: Sendable, Hashable, Comparable {
    /// A logical offset; records at or after it are yet to be read.
    public var offset: Int64

    /// Makes a cursor at a logical offset.
    public init(offset: Int64) {
        self.offset = offset
    }

    /// Orders cursors of one partition.
    public static func < (left: EventCursor, right: EventCursor) -> Bool {
        left.offset < right.offset
    }
}

/// Whole frames of one partition, as one read of the log returns them.
public struct EventSlice: Sendable {
    /// The frames, in order; the first may begin before the cursor that was asked for.
    public let frames: [EventFrame]
    /// Where to read on.
    public let next: EventCursor

    /// Makes a slice.
    public init(frames: [EventFrame], next: EventCursor) {
        self.frames = frames
        self.next = next
    }
}

/// The events of one partition of one commit.
public struct EventFrame: Sendable {
    /// When the frame's events were enqueued, in milliseconds since 1970 UTC.
    public let enqueuedTimeMilliseconds: Int64
    /// The public sequence number of the frame's first public event.
    public let firstSequenceNumber: Int64
    /// The offset of the frame's first record.
    public let firstOffset: Int64
    /// The records, in the form that ``EventBatch`` describes.
    public let records: ByteBuffer

    /// Makes a frame.
    public init(
        enqueuedTimeMilliseconds: Int64,
        firstSequenceNumber: Int64,
        firstOffset: Int64,
        records: ByteBuffer
    ) {
        self.enqueuedTimeMilliseconds = enqueuedTimeMilliseconds
        self.firstSequenceNumber = firstSequenceNumber
        self.firstOffset = firstOffset
        self.records = records
    }
}

/// What a partition holds at one moment.
public struct PartitionInfo: Sendable, Hashable {
    /// The sequence number of the first event retained; the next one to be given where nothing is retained.
    public var beginSequenceNumber: Int64
    /// The sequence number of the last event, -1 where there never was one.
    public var lastSequenceNumber: Int64
    /// The offset of the last event, -1 where there never was one.
    public var lastOffset: Int64
    /// When the last event was enqueued, in milliseconds since 1970 UTC; nil where there never was one.
    public var lastEnqueuedTimeMilliseconds: Int64?
    /// Whether nothing is retained.
    public var isEmpty: Bool

    /// Makes the description of a partition.
    public init(
        beginSequenceNumber: Int64,
        lastSequenceNumber: Int64,
        lastOffset: Int64,
        lastEnqueuedTimeMilliseconds: Int64?,
        isEmpty: Bool
    ) {
        self.beginSequenceNumber = beginSequenceNumber
        self.lastSequenceNumber = lastSequenceNumber
        self.lastOffset = lastOffset
        self.lastEnqueuedTimeMilliseconds = lastEnqueuedTimeMilliseconds
        self.isEmpty = isEmpty
    }
}

/// Where a reader wants to begin.
public enum StartingPosition: Sendable, Hashable {
    /// With the first event retained.
    case earliest
    /// With the first event enqueued after the question was asked.
    case latest
    /// With the first event whose sequence number is greater than (or, if inclusive, at least) this.
    case sequenceNumber(Int64, inclusive: Bool)
    /// With the first event whose offset is greater than (or, if inclusive, at least) this.
    case offset(Int64, inclusive: Bool)
    /// With the first event enqueued after (or, if inclusive, at or after) this many milliseconds since 1970 UTC.
    case enqueuedTime(Int64, inclusive: Bool)
}
