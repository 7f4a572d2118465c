// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import NIOCore
import Synchronization

/// A batch that waits for the writer.
struct PendingAppend: Sendable {
    let batch: AppendBatch
    let lastPublicStart: Int
    let promise: EventLoopPromise<AppendResult>
}

/// What event loops put batches into and the writer takes them from: bounded in bytes and in batches.
final class CommitQueue: Sendable {
    private struct State {
        var entries: [PendingAppend] = []
        var bytes = 0
        /// The writer found nothing and sleeps, or is about to.
        var writerSleeps = false
        var isClosed = false
    }

    private let state = Mutex(State())
    private let bytesMax: Int
    private let batchesMax: Int
    let doorbell = Doorbell()

    init(bytesMax: Int, batchesMax: Int) {
        self.bytesMax = bytesMax
        self.batchesMax = batchesMax
    }

    /// Adds a batch; returns why not when it can't.
    func add(_ entry: PendingAppend) -> EventLogError? {
        let (error, wake) = state.withLock { state -> (EventLogError?, Bool) in
            guard !state.isClosed else { return (.closed, false) }
            guard state.bytes < bytesMax, state.entries.count < batchesMax else { return (.overloaded, false) }
            state.entries.append(entry)
            state.bytes += entry.batch.bytes
            defer { state.writerSleeps = false }
            return (nil, state.writerSleeps)
        }
        if wake { doorbell.ring() }
        return error
    }

    /// Takes all that waits.
    ///
    /// When there is nothing, the next `add` rings.
    func take() -> (entries: [PendingAppend], isClosed: Bool) {
        state.withLock { state in
            state.writerSleeps = state.entries.isEmpty
            state.bytes = 0
            var entries: [PendingAppend] = []
            entries.reserveCapacity(state.entries.count)
            swap(&entries, &state.entries)
            return (entries, state.isClosed)
        }
    }

    /// Refuses what comes from now on.
    func close() {
        state.withLock { $0.isClosed = true }
        doorbell.ring()
    }

    /// Batches and bytes that wait.
    var depth: (batches: Int, bytes: Int) { state.withLock { ($0.entries.count, $0.bytes) } }
}
