// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import HubModel
import NIOCore

/// The events for the built-in endpoint in one slice of a partition, one after another.
struct EventWalk {
    /// What is yet to be seen.
    private(set) var cursor: EventCursor
    /// The frame that holds the latest event.
    private(set) var frame: EventFrame?
    private var frames: [EventFrame] = []
    private var frameIndex = 0
    private var entries: EventFrame.Entries?
    private var end: EventCursor

    /// A walk without events that stands at a cursor.
    init(at cursor: EventCursor) {
        self.cursor = cursor
        end = cursor
    }

    /// The next event; nil behind the last one of the slice.
    mutating func next() -> EventFrame.Entry? {
        while true {
            while let entry = entries?.next() {
                guard entry.offset >= cursor.offset, entry.destinations.contains(.events) else { continue }
                cursor = EventCursor(offset: entry.offset + 1)
                return entry
            }
            guard frameIndex < frames.count else { return nil }
            frame = frames[frameIndex]
            entries = frames[frameIndex].entries
            frameIndex += 1
        }
    }

    /// Lets go of a slice that was walked through; the cursor stands behind it.
    mutating func finish() { self = EventWalk(at: max(cursor, end)) }

    /// Takes another slice, which was read from the cursor.
    mutating func begin(_ slice: EventSlice) {
        self = EventWalk(at: slice.frames.isEmpty ? max(cursor, slice.next) : cursor)
        frames = slice.frames
        end = slice.next
    }
}
