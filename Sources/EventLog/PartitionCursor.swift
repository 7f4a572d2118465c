// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import NIOCore

/// What the next event of a partition gets.
///
/// Numbers are skipped when a write failed, never given twice.
struct PartitionCursor: Sendable, Equatable {
    static let encodedBytes = 32

    var nextSequence: Int64 = 0
    var nextOffset: Int64 = 0
    /// Enqueued time of the newest event; -1 when there never was one.
    var lastMilliseconds: Int64 = -1
    /// Offset of the newest event for the built-in endpoint; -1 when there never was one.
    var lastOffset: Int64 = -1

    func encode(into buffer: inout ByteBuffer) {
        buffer.writeMultipleIntegers(nextSequence, nextOffset, lastMilliseconds, lastOffset)
    }

    init() {}

    init?(from buffer: inout ByteBuffer) {
        guard let (sequence, offset, time, last) = buffer.readMultipleIntegers(as: (Int64, Int64, Int64, Int64).self)
        else { return nil }
        nextSequence = sequence
        nextOffset = offset
        lastMilliseconds = time
        lastOffset = last
    }

    static func encode(_ cursors: [PartitionCursor]) -> ByteBuffer {
        var buffer = ByteBufferAllocator().buffer(capacity: cursors.count * encodedBytes)
        for cursor in cursors { cursor.encode(into: &buffer) }
        return buffer
    }

    static func decode(_ buffer: ByteBuffer, count: Int) -> [PartitionCursor]? {
        var buffer = buffer
        var cursors: [PartitionCursor] = []
        for _ in 0..<count {
            guard let cursor = PartitionCursor(from: &buffer) else { return nil }
            cursors.append(cursor)
        }
        return cursors
    }

    /// Takes every number at least as far as another view of the partition does.
    mutating func advance(to other: PartitionCursor) {
        nextSequence = max(nextSequence, other.nextSequence)
        nextOffset = max(nextOffset, other.nextOffset)
        lastMilliseconds = max(lastMilliseconds, other.lastMilliseconds)
        lastOffset = max(lastOffset, other.lastOffset)
    }
}
