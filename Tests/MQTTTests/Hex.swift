// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import NIOCore

/// Bytes as fixtures write them: hex pairs, "text" in quotes, and comments from `;` to the end of the line.
func hex(_ text: String) -> ByteBuffer {
    var buffer = ByteBuffer()
    for line in text.split(separator: "\n") {
        var quoted = false
        for (index, part) in line.prefix(while: { $0 != ";" }).split(separator: "\"", omittingEmptySubsequences: false)
            .enumerated()
        {
            quoted = index % 2 == 1
            if quoted {
                buffer.writeString(String(part))
            } else {
                for pair in part.split(separator: " ") {
                    guard pair.count == 2, let byte = UInt8(pair, radix: 16) else {
                        preconditionFailure("not a hex pair: \(pair)")
                    }
                    buffer.writeInteger(byte)
                }
            }
        }
    }
    return buffer
}

extension ByteBuffer {
    /// The readable bytes, for failure messages that can be read.
    var bytes: [UInt8] { Array(readableBytesView) }
}

/// Numbers that are random enough for tests and the same in every run of one seed.
struct SeededGenerator: RandomNumberGenerator {
    private var state: UInt64

    init(seed: UInt64) { state = seed }

    mutating func next() -> UInt64 {
        // SplitMix64.
        state &+= 0x9E37_79B9_7F4A_7C15
        var z = state
        z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
        z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
        return z ^ (z >> 31)
    }
}
