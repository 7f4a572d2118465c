// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import Synchronization

/// A number that only grows; adding to it is one atomic instruction.
public final class Counter: Sendable {
    private let count = Atomic<Int>(0)

    /// Makes a counter at zero.
    public init() {}

    /// Adds to the counter; called on any thread.
    public func add(_ amount: Int = 1) {
        count.wrappingAdd(amount, ordering: .relaxed)
    }

    /// What has been counted so far.
    public var value: Int { count.load(ordering: .relaxed) }
}

/// A number that goes up and down.
public final class Gauge: Sendable {
    private let level = Atomic<Int>(0)

    /// Makes a gauge at zero.
    public init() {}

    /// Raises or lowers the gauge; called on any thread.
    public func add(_ amount: Int) {
        level.wrappingAdd(amount, ordering: .relaxed)
    }

    /// Puts the gauge at a level; called on any thread.
    public func set(_ value: Int) {
        level.store(value, ordering: .relaxed)
    }

    /// Where the gauge stands.
    public var value: Int { level.load(ordering: .relaxed) }
}

/// Durations counted in buckets whose bounds double, from 16 microseconds to 67 seconds.
public final class LatencyHistogram: Sendable {
    /// The upper bound of each bucket in microseconds; a last bucket takes what is longer.
    public static let boundsMicroseconds: [Int] = (4...26).map { 1 << $0 }

    private let buckets: [Counter]
    private let sumMicroseconds = Counter()

    /// Makes an empty histogram.
    public init() {
        buckets = (0...Self.boundsMicroseconds.count).map { _ in Counter() }
    }

    /// Counts `count` durations of `microseconds` each; called on any thread.
    public func record(microseconds: Int, count: Int = 1) {
        let above = max(0, microseconds - 1)
        let bits = Int.bitWidth - above.leadingZeroBitCount
        buckets[min(max(0, bits - 4), buckets.count - 1)].add(count)
        sumMicroseconds.add(microseconds * count)
    }

    /// The count of each bucket, the one without a bound last, and the sum of all durations in microseconds.
    public var snapshot: (counts: [Int], sumMicroseconds: Int) {
        (buckets.map(\.value), sumMicroseconds.value)
    }
}
