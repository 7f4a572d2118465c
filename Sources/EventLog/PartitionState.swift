// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import NIOCore
import Synchronization

/// What readers see of one partition.
///
/// Written by the writer after each sync and by retention; every lock is short.
final class PartitionState: Sendable {
    struct State {
        /// The numbers after the newest durable event.
        var cursor: PartitionCursor
        /// What closed files hold, oldest first.
        var extents: [Extent]
        /// The frames in the file that is written now.
        var active: [FrameEntry] = []
        var tail: TailCache
        var watches: [Watch] = []
        var nextWatch: UInt64 = 0
    }

    struct Watch: Sendable {
        var id: UInt64
        var loop: any EventLoop
        var wake: @Sendable () -> Void
    }

    let state: Mutex<State>
    /// Set when synced data of the partition was found damaged; it takes no events then.
    let isDamaged: Atomic<Bool>

    init(cursor: PartitionCursor, extents: [Extent], isDamaged: Bool, tailBytes: Int) {
        state = Mutex(State(cursor: cursor, extents: extents, tail: TailCache(bytesMax: tailBytes)))
        self.isDamaged = Atomic(isDamaged)
    }

    /// Shows a durable frame to readers and collects who is to be woken.
    func publish(_ entry: FrameEntry, _ slice: FrameSlice, cursor: PartitionCursor, into wakes: inout WakeList) {
        let watches = state.withLock { state in
            state.active.append(entry)
            state.tail.append(slice)
            state.cursor = cursor
            return state.watches
        }
        for watch in watches { wakes.add(watch.loop, watch.wake) }
    }

    /// Turns the frames of the file that was written into an extent, and returns them.
    func closeFile(_ epoch: UInt32) -> [FrameEntry] {
        state.withLock { state in
            let entries = state.active
            state.active = []
            if let extent = Extent(epoch: epoch, entries: entries) { state.extents.append(extent) }
            return entries
        }
    }

    /// Forgets what files up to an epoch hold.
    func drop(through epoch: UInt32) {
        state.withLock { state in
            guard let last = state.extents.lastIndex(where: { $0.epoch <= epoch }) else { return }
            state.tail.drop(before: state.extents[last].endOffset)
            state.extents.removeFirst(last + 1)
        }
    }
}

extension PartitionState.State {
    var beginOffset: Int64 { extents.first?.firstOffset ?? active.first?.firstOffset ?? cursor.nextOffset }
    var beginSequence: Int64 { extents.first?.firstSequence ?? active.first?.firstSequence ?? cursor.nextSequence }
    var isEmpty: Bool { extents.isEmpty && active.isEmpty }

    func resident(from offset: Int64, bytesMax: Int) -> ResidentRead {
        let offset = max(offset, beginOffset)
        guard offset < cursor.nextOffset else { return .atEnd }
        guard let slice = tail.read(from: offset, bytesMax: bytesMax) else {
            return isEmpty ? .atEnd : .cold
        }
        // Behind the newest event, where skipped numbers end.
        return slice.isEmpty ? .atEnd : .slice(slice)
    }
}
