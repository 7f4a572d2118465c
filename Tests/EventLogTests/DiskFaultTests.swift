// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import EventLog
import HubTesting
import NIOCore
import NIOEmbedded
import Synchronization
import Testing

@Suite struct DiskFaultTests {
    @Test func `after a failed sync nothing is acknowledged, and the next file skips the numbers`() throws {
        let harness = try LogHarness()
        try harness.append(0, ["first"])
        let files = try harness.disk.list("/log").filter { $0.hasSuffix(".journal") }
        var faults = FakeDisk.Faults()
        faults.failedSyncs = 1
        harness.disk.setFaults(faults)
        #expect(throws: EventLogError.writeFailed("sync")) { try harness.append(0, ["lost"]) }
        #expect(!harness.log.isWritable)
        #expect(try harness.readAll(0).map(\.text) == ["first"])
        harness.disk.setFaults(FakeDisk.Faults())
        try harness.reopen(now: 2_000_000)
        let result = try harness.append(0, ["second"])
        #expect(result.firstSequence >= 1)
        #expect(try harness.readAll(0).map(\.text).filter { $0 != "lost" } == ["first", "second"])
        #expect(Set(try harness.disk.list("/log").filter { $0.hasSuffix(".journal") }) != Set(files))
        harness.disk.crash()
        try harness.reopen(now: 2_000_000)
        #expect(try harness.readAll(0).last?.sequence == result.firstSequence)
    }

    @Test func `the same log goes on in a new file after a failed write`() throws {
        var configuration = LogHarness.configuration()
        configuration.retryMilliseconds = 0
        let harness = try LogHarness(configuration)
        try harness.append(0, ["first"])
        var faults = FakeDisk.Faults()
        faults.failedWrites = 1
        harness.disk.setFaults(faults)
        #expect(throws: EventLogError.self) { try harness.append(0, ["lost"]) }
        harness.disk.setFaults(FakeDisk.Faults())
        let result = try harness.append(0, ["second"])
        #expect(result.firstSequence == 2)
        #expect(harness.log.isWritable)
        #expect(try harness.readAll(0).map(\.sequence) == [0, 2])
        harness.disk.crash()
        try harness.reopen()
        #expect(try harness.readAll(0).map(\.sequence) == [0, 2])
    }

    @Test func `a full disk refuses, keeps reading, and takes events again when space returns`() throws {
        var configuration = LogHarness.configuration(partitions: 1)
        configuration.retryMilliseconds = 0
        configuration.freeBytesReserved = 16 << 10
        let harness = try LogHarness(configuration)
        var faults = FakeDisk.Faults()
        faults.capacityBytes = 150 << 10
        harness.disk.setFaults(faults)
        var stored = 0
        let text = String(repeating: "x", count: 1500)
        while true {
            do {
                try harness.append(0, [text])
                stored += 1
                harness.log.keep()
            } catch {
                #expect(error as? EventLogError == .storageFull)
                break
            }
            if stored > 1000 { break }
        }
        #expect(stored > 40 && stored < 100)
        #expect(!harness.log.isWritable)
        #expect(try harness.disk.availableBytes("/log") >= 16 << 10)
        #expect(try harness.readAll(0).count == stored)
        #expect(throws: EventLogError.storageFull) { try harness.append(0, [text]) }
        harness.disk.setFaults(FakeDisk.Faults())
        try harness.append(0, [text])
        #expect(harness.log.isWritable)
        harness.log.closeStepped()
        try harness.reopen()
        #expect(try harness.readAll(0).count == stored + 1)
    }

    @Test func `a log that is opened on a full disk gets space by retention`() throws {
        var configuration = LogHarness.configuration(partitions: 1)
        configuration.retryMilliseconds = 0
        configuration.freeBytesReserved = 16 << 10
        let harness = try LogHarness(configuration)
        var faults = FakeDisk.Faults()
        faults.capacityBytes = 150 << 10
        harness.disk.setFaults(faults)
        let text = String(repeating: "x", count: 1500)
        #expect(throws: EventLogError.storageFull) {
            for _ in 0..<1000 { try harness.append(0, [text]) }
        }
        let stored = try harness.readAll(0)
        harness.log.closeStepped()
        harness.configuration.retentionBytes = 64 << 10
        try harness.reopen()
        #expect(throws: EventLogError.storageFull) { try harness.append(0, [text]) }
        harness.log.keep()
        let next = try harness.append(0, [text])
        #expect(next.firstSequence == stored.last.map { $0.sequence + 1 })
        let kept = try harness.readAll(0).map(\.sequence)
        let first = try #require(kept.first)
        #expect(first > 0 && kept == Array(first...next.firstSequence))
    }

    @Test func `a log that is opened on a full disk keeps the file that has its numbers`() throws {
        var configuration = LogHarness.configuration(partitions: 1)
        configuration.retryMilliseconds = 0
        let harness = try LogHarness(configuration)
        try harness.append(0, ["only"])
        harness.log.closeStepped()
        var faults = FakeDisk.Faults()
        faults.capacityBytes = 1
        harness.disk.setFaults(faults)
        harness.configuration.retentionBytes = 1
        try harness.reopen(now: 1_000_000_000)
        harness.log.keep()
        #expect(try harness.readAll(0).map(\.text) == ["only"])
        harness.disk.setFaults(FakeDisk.Faults())
        #expect(try harness.append(0, ["next"]).firstSequence == 1)
    }

    @Test func `a log whose queue is full answers overloaded at once`() throws {
        var configuration = LogHarness.configuration()
        configuration.queueBatchesMax = 3
        let harness = try LogHarness(configuration)
        let waiting = (0..<3).map { harness.log.append(LogHarness.batch(0, ["\($0)"]), on: harness.loop) }
        let refused = harness.log.append(LogHarness.batch(0, ["too many"]), on: harness.loop)
        harness.run()
        #expect(throws: EventLogError.overloaded) { try refused.wait() }
        #expect(harness.log.statistics.queuedBatches == 3)
        harness.log.step()
        harness.run()
        #expect(try waiting.map { try $0.wait().firstSequence } == [0, 1, 2])
    }

    @Test func `batches that are too large, malformed, for no partition or too late are refused`() throws {
        let harness = try LogHarness()
        let large = LogHarness.batch(0, [String(repeating: "x", count: 5000)])
        #expect(throws: EventLogError.batchTooLarge(bytes: large.bytes, limit: 4096)) {
            try harness.log.append(large, on: harness.loop).wait()
        }
        let good = LogHarness.batch(0, ["a", "b"])
        let lying = AppendBatch(partition: 0, records: good.records, count: 3, publicCount: 2)
        #expect(throws: EventLogError.malformedBatch) { try harness.log.append(lying, on: harness.loop).wait() }
        let nowhere = LogHarness.batch(9, ["a"])
        #expect(throws: EventLogError.noSuchPartition(9)) { try harness.log.append(nowhere, on: harness.loop).wait() }
        harness.log.closeStepped()
        #expect(throws: EventLogError.closed) { try harness.log.append(good, on: harness.loop).wait() }
    }

    @Test func `a newer format is refused`() throws {
        let harness = try LogHarness()
        harness.log.closeStepped()
        let file = try harness.disk.open("/log/log.meta", create: true)
        let text = "roost event log\nformat 2\npartitions 3\ncreated 1\n"
        _ = try file.write([.init(string: text)], at: 0)
        #expect(throws: EventLogError.newerFormat(found: 2, supported: 1)) { try harness.reopen() }
    }

    @Test func `a clock that is set back does not keep the log from trying again`() throws {
        let disk = FakeDisk(seed: 1)
        final class Times: Sendable {
            let wall = Atomic<Int64>(10_000_000)
            let steady = Atomic<UInt64>(1)
        }
        let times = Times()
        let clock = LogClock(
            milliseconds: { times.wall.load(ordering: .relaxed) },
            nanoseconds: { times.steady.load(ordering: .relaxed) }
        )
        let log = try EventLog.open(
            LogHarness.configuration(),
            fileSystem: disk,
            clock: clock,
            logger: LogHarness.quiet
        )
        let loop = EmbeddedEventLoop()
        func append(_ text: String) throws {
            let future = log.append(LogHarness.batch(0, [text]), on: loop)
            log.step()
            loop.run()
            _ = try future.wait()
        }
        var faults = FakeDisk.Faults()
        faults.failedWrites = 1
        disk.setFaults(faults)
        #expect(throws: EventLogError.self) { try append("lost") }
        disk.setFaults(FakeDisk.Faults())
        times.wall.subtract(3_600_000, ordering: .relaxed)
        #expect(throws: EventLogError.self) { try append("too early") }
        times.steady.add(250_000_000, ordering: .relaxed)
        try append("stored")
        #expect(log.isWritable)
    }

    @Test func `what failed to be synced is not read where a checkpoint is lost while the log is open`() throws {
        var configuration = LogHarness.configuration()
        configuration.retryMilliseconds = 0
        configuration.indexEntriesCached = 0
        configuration.tailBytesPerPartition = 0
        let harness = try LogHarness(configuration)
        // The second failure closes another file, whose checkpoint puts the first one's out of memory.
        for text in ["first", "second"] {
            try harness.append(0, [text])
            var faults = FakeDisk.Faults()
            faults.failedSyncs = 1
            harness.disk.setFaults(faults)
            #expect(throws: EventLogError.self) { try harness.append(0, ["lost"]) }
            harness.disk.setFaults(FakeDisk.Faults())
        }
        try harness.append(0, ["third"])
        harness.log.keep()
        let indexes = try harness.disk.list("/log").filter { $0.hasSuffix(".index") }.sorted()
        #expect(indexes.count == 2)
        try harness.disk.remove("/log/" + indexes[0])
        #expect(try harness.readAll(0).map(\.text) == ["first", "second", "third"])
    }
}
