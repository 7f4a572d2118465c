// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import Synchronization

/// What a log has done since it was opened, for metrics.
public struct EventLogStatistics: Sendable {
    /// Upper bounds of the classes of sync latency in microseconds; one more class holds what is longer.
    public static let syncBoundsMicroseconds: [UInt64] = [
        50, 100, 200, 300, 500, 700, 1_000, 1_500, 2_000, 3_000, 5_000, 10_000, 20_000, 50_000, 100_000, 500_000,
        1_000_000,
    ]

    /// Commits that were synced.
    public var syncs: UInt64 = 0
    /// Syncs in each class of latency.
    public var syncsByLatency = [UInt64](repeating: 0, count: syncBoundsMicroseconds.count + 1)
    /// Nanoseconds spent in syncs.
    public var syncNanoseconds: UInt64 = 0
    /// Bytes written.
    public var bytesWritten: UInt64 = 0
    /// Writes, syncs and rolls that failed.
    public var failures: UInt64 = 0
    /// Batches that wait for the writer now.
    public var queuedBatches = 0
    /// Bytes that wait for the writer now.
    public var queuedBytes = 0
    /// Bytes of the disk that the journal files take.
    public var storedBytes: Int64 = 0

    /// The latency that this share of the syncs did not exceed, in microseconds, as exact as the classes are.
    public func syncMicroseconds(percentile: Double) -> UInt64 {
        var left = (Double(syncs) * percentile).rounded(.up)
        for (position, count) in syncsByLatency.enumerated() {
            left -= Double(count)
            if left <= 0 { return Self.syncBoundsMicroseconds[min(position, Self.syncBoundsMicroseconds.count - 1)] }
        }
        return 0
    }
}

/// Collects statistics from the writer.
final class LogStatistics: Sendable {
    private let state = Mutex(EventLogStatistics())
    /// Set from a failure to the next success.
    let isFailing = Atomic(false)

    func recordSync(nanoseconds: UInt64, bytes: Int) {
        let microseconds = nanoseconds / 1000
        let bounds = EventLogStatistics.syncBoundsMicroseconds
        let position = bounds.firstIndex { microseconds <= $0 } ?? bounds.count
        state.withLock { state in
            state.syncs += 1
            state.syncsByLatency[position] += 1
            state.syncNanoseconds += nanoseconds
            state.bytesWritten += UInt64(bytes)
        }
    }

    func recordFailure() {
        state.withLock { $0.failures += 1 }
        isFailing.store(true, ordering: .relaxed)
    }

    func recordSuccess() {
        if isFailing.load(ordering: .relaxed) { isFailing.store(false, ordering: .relaxed) }
    }

    var snapshot: EventLogStatistics { state.withLock { $0 } }
}
