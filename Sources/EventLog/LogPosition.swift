// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

/// A place in the journal: the epoch of a file and a byte in it.
///
/// Positions only grow.
struct LogPosition: Sendable, Hashable, Comparable {
    var rawValue: UInt64

    init(rawValue: UInt64) { self.rawValue = rawValue }
    init(epoch: UInt32, byte: Int) { rawValue = UInt64(epoch) << 32 | UInt64(byte) }

    static let zero = LogPosition(rawValue: 0)
    var epoch: UInt32 { UInt32(rawValue >> 32) }
    var byte: Int { Int(rawValue & 0xffff_ffff) }

    static func < (a: LogPosition, b: LogPosition) -> Bool { a.rawValue < b.rawValue }
}
