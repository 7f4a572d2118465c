// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import EventLog
import NIOCore
import NIOPosix
import Testing

@Suite struct ClosingTests {
    @Test func `a closed log leaves its directory alone, and the next one goes on where it ended`() async throws {
        let directory = "/tmp/roost-log-\(UInt64.random(in: 0...UInt64.max))"
        var configuration = EventLogConfiguration(directory: directory, partitionCount: 2)
        configuration.fileBytes = 256 << 10
        configuration.batchBytesMax = 16 << 10
        configuration.commitBytesMax = 64 << 10
        configuration.freeBytesReserved = 0
        configuration.keeperMilliseconds = 1
        let loop = MultiThreadedEventLoopGroup.singleton.next()
        for round in 0..<20 {
            let log = try EventLog.open(configuration, logger: LogHarness.quiet)
            // One that is refused does no harm, and one that still waits is answered.
            let waiting = (0..<10).map { log.append(LogHarness.batch(0, ["\(round) \($0)"]), on: loop) }
            await log.close()
            let before = try PosixFileSystem().list(directory).sorted()
            for (number, future) in waiting.enumerated() {
                #expect(try await future.get().firstSequence == Int64(round * 10 + number))
            }
            await #expect(throws: EventLogError.closed) {
                try await log.append(LogHarness.batch(0, ["x"]), on: loop).get()
            }
            #expect(try PosixFileSystem().list(directory).sorted() == before)
        }
        #expect(try EventLog.partitionCount(ofLogIn: directory) == 2)
        #expect(try EventLog.check(configuration).events == 200)
        for name in try PosixFileSystem().list(directory) { try PosixFileSystem().remove(directory + "/" + name) }
    }
}
