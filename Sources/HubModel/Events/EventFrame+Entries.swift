// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import NIOCore

extension EventFrame {
    /// One record of a frame, with what the log assigned to it.
    public struct Entry: Hashable, Sendable {
        /// The public sequence number; for a record that is not for `events`, that of the next one that is.
        public let sequenceNumber: Int64
        /// The logical offset: the frame's first offset plus the bytes of the records before it.
        public let offset: Int64
        /// Where the event is to go.
        public let destinations: EventDestinations
        /// The index in the frame's records at which the payload begins.
        public let payloadStart: Int
        /// How many bytes the payload has.
        public let payloadCount: Int
    }

    /// Walks through the records of a frame without allocating.
    public struct Entries: Sequence, IteratorProtocol {
        private let frame: EventFrame
        private var index: Int
        private var sequenceNumber: Int64

        init(_ frame: EventFrame) {
            self.frame = frame
            index = frame.records.readerIndex
            sequenceNumber = frame.firstSequenceNumber
        }

        /// The next record; nil behind the last one.
        public mutating func next() -> Entry? {
            guard let head: UInt64 = frame.records.getInteger(at: index) else { return nil }
            let count = Int(head >> 32)
            let payloadStart = index + EventBatch.recordHeaderSize
            guard payloadStart + count <= frame.records.writerIndex else { return nil }
            let destinations = EventDestinations(rawValue: UInt32(truncatingIfNeeded: head))
            let entry = Entry(
                sequenceNumber: sequenceNumber,
                offset: frame.firstOffset + Int64(index - frame.records.readerIndex),
                destinations: destinations,
                payloadStart: payloadStart,
                payloadCount: count
            )
            index = payloadStart + count
            if destinations.contains(.events) {
                sequenceNumber += 1
            }
            return entry
        }
    }

    /// The records of the frame, in order.
    public var entries: Entries { Entries(self) }
}
