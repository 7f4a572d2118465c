// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

#if canImport(Glibc)
import Glibc
#else
import Darwin
#endif

/// Tells the time of day, so that a test can decide what it is.
public struct HubClock: Sendable {
    private let read: @Sendable () -> Int64

    /// Makes a clock from a function that returns milliseconds since 1970 UTC.
    public init(milliseconds: @escaping @Sendable () -> Int64) {
        read = milliseconds
    }

    /// Now, in milliseconds since 1970 UTC.
    public var milliseconds: Int64 { read() }

    /// Now, in whole seconds since 1970 UTC.
    public var seconds: Int64 { read() / 1000 }

    /// The machine's clock.
    public static let system = HubClock {
        var time = timespec()
        clock_gettime(CLOCK_REALTIME, &time)
        return Int64(time.tv_sec) * 1000 + Int64(time.tv_nsec) / 1_000_000
    }
}
