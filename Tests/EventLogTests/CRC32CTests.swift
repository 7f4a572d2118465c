// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import CCRC32C
import Testing

@Suite struct CRC32CTests {
    @Test func `the check value of CRC-32C comes out`() {
        let text = Array("123456789".utf8)
        #expect(text.withUnsafeBytes { roost_crc32c(0, $0.baseAddress, $0.count) } == 0xe306_9283)
        #expect(text.withUnsafeBytes { roost_crc32c_table(0, $0.baseAddress, $0.count) } == 0xe306_9283)
    }

    @Test func `instruction and table agree at every length, and a sum can be continued`() {
        let bytes = (0..<300).map { UInt8(truncatingIfNeeded: $0 &* 37 &+ 11) }
        bytes.withUnsafeBytes { all in
            for length in 0...300 {
                let whole = roost_crc32c(0, all.baseAddress, length)
                #expect(whole == roost_crc32c_table(0, all.baseAddress, length))
                let half = roost_crc32c(0, all.baseAddress, length / 2)
                let rest = UnsafeRawBufferPointer(rebasing: all[(length / 2)..<length])
                #expect(whole == roost_crc32c(half, rest.baseAddress, rest.count))
            }
        }
    }
}
