// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import Glibc

/// The time that the log sees, so that a test can fix it.
public struct LogClock: Sendable {
    /// Milliseconds since 1970; may jump, the log never lets enqueued times go back.
    public var milliseconds: @Sendable () -> Int64
    /// Nanoseconds of a clock that never jumps, for latencies.
    public var nanoseconds: @Sendable () -> UInt64

    /// Makes a clock from two functions.
    public init(milliseconds: @escaping @Sendable () -> Int64, nanoseconds: @escaping @Sendable () -> UInt64) {
        self.milliseconds = milliseconds
        self.nanoseconds = nanoseconds
    }

    /// The machine's clocks.
    public static let system = LogClock(
        milliseconds: {
            var time = timespec()
            clock_gettime(CLOCK_REALTIME, &time)
            return Int64(time.tv_sec) * 1000 + Int64(time.tv_nsec) / 1_000_000
        },
        nanoseconds: {
            var time = timespec()
            clock_gettime(CLOCK_MONOTONIC, &time)
            return UInt64(time.tv_sec) * 1_000_000_000 + UInt64(time.tv_nsec)
        }
    )
}
