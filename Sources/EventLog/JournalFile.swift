// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import CCRC32C
import NIOCore

/// Names and first page of journal files.
enum JournalFile {
    /// The first page of a file; frames begin after it.
    static let headerBytes = 4096
    private static let magic: UInt32 = 0x524a_4c31
    private static let version: UInt32 = 1

    static let spareName = "spare.journal"
    static let metadataName = "log.meta"

    static func name(_ epoch: UInt32) -> String { padded(epoch) + ".journal" }
    static func indexName(_ epoch: UInt32) -> String { padded(epoch) + ".index" }

    /// The epoch in the name of a journal file or of an index.
    static func epoch(of name: String, suffix: String) -> UInt32? {
        guard name.hasSuffix(suffix), name.count == 10 + suffix.count else { return nil }
        return UInt32(name.dropLast(suffix.count))
    }

    private static func padded(_ epoch: UInt32) -> String {
        let digits = String(epoch)
        return String(repeating: "0", count: 10 - digits.count) + digits
    }

    /// The first page.
    static func header(epoch: UInt32) -> ByteBuffer {
        var page = ByteBufferAllocator().buffer(capacity: headerBytes)
        page.writeMultipleIntegers(magic, version, epoch)
        let checksum = page.withUnsafeReadableBytes { roost_crc32c(0, $0.baseAddress, $0.count) }
        page.writeInteger(checksum)
        page.writeRepeatingByte(0, count: headerBytes - page.readableBytes)
        return page
    }
}
