// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import NIOCore

/// The newest frames of one partition, in memory.
struct TailCache {
    private let bytesMax: Int
    private var frames: [FrameSlice] = []
    /// Frames before this index have been let go.
    private var head = 0
    private var bytes = 0

    init(bytesMax: Int) { self.bytesMax = bytesMax }

    /// Offset of the first event in memory; nil when there is none.
    var firstOffset: Int64? { head < frames.count ? frames[head].firstOffset : nil }

    /// Adds the newest frame.
    ///
    /// `records` must share its storage with nothing but itself, or memory is kept uncounted.
    mutating func append(_ frame: FrameSlice) {
        frames.append(frame)
        bytes += frame.records.storageCapacity
        while bytes > bytesMax, head < frames.count - 1 {
            dropFirst()
        }
        // Moving what is left only when half is empty keeps this constant per frame.
        if head > 64, head * 2 > frames.count {
            frames.removeFirst(head)
            head = 0
        }
    }

    /// Forgets the frames that end at or before an offset.
    mutating func drop(before offset: Int64) {
        while head < frames.count, frames[head].endOffset <= offset { dropFirst() }
    }

    private mutating func dropFirst() {
        bytes -= frames[head].records.storageCapacity
        frames[head].records = ByteBuffer()
        head += 1
    }

    /// Frames from the one that holds `offset`, at least one and at most about `bytesMax` bytes; nil when it is older.
    func read(from offset: Int64, bytesMax: Int) -> ReadSlice? {
        guard let firstOffset, firstOffset <= offset else { return nil }
        var (low, high) = (head, frames.count)
        while low < high {
            let middle = (low + high) / 2
            if frames[middle].endOffset <= offset { low = middle + 1 } else { high = middle }
        }
        var slice = ReadSlice(frames: [], nextOffset: offset)
        var taken = 0
        while low < frames.count, taken == 0 || taken + frames[low].records.readableBytes <= bytesMax {
            slice.frames.append(frames[low])
            slice.nextOffset = frames[low].endOffset
            taken += frames[low].records.readableBytes
            low += 1
        }
        return slice
    }
}
