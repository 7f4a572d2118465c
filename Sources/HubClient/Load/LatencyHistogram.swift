// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

/// Counts durations in buckets no wider than 1/128 of their value, in fixed memory whatever their number.
public struct LatencyHistogram: Hashable, Sendable {
    /// 128 buckets for each doubling, up to 78 hours.
    private static let bucketBits = 7
    private static let shiftMax = 41
    private var counts: [UInt64]
    /// How many durations are counted.
    public private(set) var count: UInt64 = 0
    /// The longest duration.
    public private(set) var maxNanoseconds: UInt64 = 0

    /// An empty histogram.
    public init() {
        self.counts = Array(repeating: 0, count: (Self.shiftMax + 2) << Self.bucketBits)
    }

    /// Counts a duration.
    public mutating func add(nanoseconds: UInt64) {
        self.counts[Self.bucket(of: nanoseconds)] += 1
        self.count += 1
        self.maxNanoseconds = max(self.maxNanoseconds, nanoseconds)
    }

    /// Adds what another histogram counted.
    public mutating func add(_ other: LatencyHistogram) {
        for index in self.counts.indices {
            self.counts[index] += other.counts[index]
        }
        self.count += other.count
        self.maxNanoseconds = max(self.maxNanoseconds, other.maxNanoseconds)
    }

    /// The duration that this part of all durations does not exceed, or 0 when there are none.
    ///
    /// - Parameter quantile: a part from 0 to 1, such as 0.99.
    /// - Returns: nanoseconds, at most 1/128 too many.
    public func nanoseconds(at quantile: Double) -> UInt64 {
        guard self.count > 0 else { return 0 }
        let rank = max(1, min(self.count, UInt64((quantile * Double(self.count)).rounded(.up))))
        var seen: UInt64 = 0
        for (index, count) in self.counts.enumerated() {
            seen += count
            if seen >= rank {
                return min(Self.upperBound(of: index), self.maxNanoseconds)
            }
        }
        return self.maxNanoseconds
    }

    private static func bucket(of value: UInt64) -> Int {
        let shift = max(0, UInt64.bitWidth - value.leadingZeroBitCount - Self.bucketBits - 1)
        guard shift <= Self.shiftMax else { return ((Self.shiftMax + 2) << Self.bucketBits) - 1 }
        return shift << Self.bucketBits + Int(value >> UInt64(shift))
    }

    private static func upperBound(of index: Int) -> UInt64 {
        let shift = max(0, index >> Self.bucketBits - 1)
        let head = UInt64(index - shift << Self.bucketBits)
        return (head + 1) << UInt64(shift) - 1
    }
}
