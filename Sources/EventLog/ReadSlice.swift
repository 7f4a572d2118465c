// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

public import NIOCore

/// One event as a reader sees it; the payload shares memory with the slice.
public struct StoredEvent: Sendable {
    /// Public sequence number; of an event that is not for the built-in endpoint, the number that the next such event has.
    public var sequence: Int64
    /// Logical offset.
    public var offset: Int64
    /// When the log took it, milliseconds since 1970.
    public var enqueuedMilliseconds: Int64
    /// The endpoints it is for.
    public var destinations: DestinationSet
    /// What was appended.
    public var payload: ByteBuffer
}

/// The events of one frame: one partition, one commit; a sequence of `StoredEvent`.
public struct FrameSlice: Sendable, Sequence {
    /// When the log took these events, milliseconds since 1970.
    public var enqueuedMilliseconds: Int64
    /// Public sequence number of the first event for the built-in endpoint.
    public var firstSequence: Int64
    /// Offset of the first event.
    public var firstOffset: Int64
    /// The records, as in `AppendBatch`.
    public var records: ByteBuffer

    /// Offset after the last event.
    public var endOffset: Int64 { firstOffset + Int64(records.readableBytes) }

    /// Walks the events without allocating.
    public func makeIterator() -> Iterator { Iterator(self) }

    /// Walks the events of a frame.
    public struct Iterator: IteratorProtocol {
        private var records: ByteBuffer
        private var sequence: Int64
        private var offset: Int64
        private let enqueuedMilliseconds: Int64

        init(_ frame: FrameSlice) {
            records = frame.records
            sequence = frame.firstSequence
            offset = frame.firstOffset
            enqueuedMilliseconds = frame.enqueuedMilliseconds
        }

        /// The next event.
        public mutating func next() -> StoredEvent? {
            guard let (length, bits) = records.readMultipleIntegers(as: (UInt32, UInt32).self),
                let payload = records.readSlice(length: Int(length))
            else { return nil }
            let destinations = DestinationSet(rawValue: bits)
            let event = StoredEvent(
                sequence: sequence,
                offset: offset,
                enqueuedMilliseconds: enqueuedMilliseconds,
                destinations: destinations,
                payload: payload
            )
            if destinations.contains(.events) { sequence += 1 }
            offset += Int64(AppendBatch.recordHeaderBytes) + Int64(length)
            return event
        }
    }
}

/// Events in order, as one read returns them.
public struct ReadSlice: Sendable {
    /// The frames, oldest first, always whole: the first may begin before the offset that was asked for.
    public var frames: [FrameSlice]
    /// Where the next read goes on.
    public var nextOffset: Int64

    /// True when there was nothing to read.
    public var isEmpty: Bool { frames.isEmpty }
    /// Bytes of records.
    public var bytes: Int { frames.reduce(0) { $0 + $1.records.readableBytes } }
}

/// What the memory has for a reader.
public enum ResidentRead: Sendable {
    /// These events.
    case slice(ReadSlice)
    /// Nothing yet after this offset: watch the partition.
    case atEnd
    /// Older than what is in memory: use `read`.
    case cold
}
