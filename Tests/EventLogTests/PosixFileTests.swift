// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import FoundationEssentials
import NIOCore
import Testing

@testable import EventLog

/// The machine's file system, with writes past the page cache and ordinary ones in any order.
@Suite struct PosixFileTests {
    private func withFile(_ body: (any LogFile) throws -> Void) throws {
        let folder = FileManager.default.temporaryDirectory.appending(
            path: "posix-\(UInt64.random(in: 0...UInt64.max))"
        )
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        let file = try PosixFileSystem().open(folder.appending(path: "file").path(), create: true)
        defer { file.close() }
        try file.prewrite(1 << 20)
        try body(file)
        try FileManager.default.removeItem(at: folder)
    }

    /// What the log writes at the end of its file: data, then zeros to the end of the page.
    private func commit(_ data: [UInt8], at offset: Int) -> [ByteBuffer] {
        let end = offset + data.count
        return [ByteBuffer(bytes: data), ByteBuffer(repeating: 0, count: (end + 4095) / 4096 * 4096 - end)]
    }

    @Test(arguments: 0..<20 as Range<UInt64>)
    func `what is written in any mixture of commits and single writes is read back`(seed: UInt64) throws {
        var state = seed &* 0x9e37_79b9_7f4a_7c15 | 1
        func random(_ bound: Int) -> Int {
            state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            return Int(state >> 33) % bound
        }
        try withFile { file in
            var expected = [UInt8](repeating: 0, count: 1 << 20)
            var end = 0
            for turn in 0..<40 {
                let data = (0..<1 + random(20_000)).map { UInt8(truncatingIfNeeded: $0 &* 7 &+ turn &+ 1) }
                guard end + data.count + 4096 < expected.count else { break }
                if random(4) == 0 {
                    try file.writeAll([ByteBuffer(bytes: data)], at: Int64(end))
                } else {
                    try file.writeAll(commit(data, at: end), at: Int64(end))
                }
                expected.replaceSubrange(end..<end + data.count, with: data)
                end += random(5) == 0 ? (data.count + 7) / 8 * 8 : data.count
                try file.sync()
                let read = try file.readAll(end, at: 0)
                #expect(Array(read.readableBytesView) == Array(expected[..<end]))
            }
        }
    }

    @Test func `a file that was prewritten holds zeros`() throws {
        try withFile { file in
            let size = try file.size()
            #expect(size == 1 << 20)
            let read = try file.readAll(1 << 20, at: 0)
            #expect(read.readableBytesView.allSatisfy { $0 == 0 })
        }
    }
}
