// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import EventLog
import HubTesting
import Logging
import NIOCore
import NIOPosix
import Synchronization
import Testing

@Suite struct EventLogTests {
    @Test func `event hubs 040 sequence numbers are consecutive and offsets grow`() throws {
        let harness = try LogHarness()
        for round in 0..<50 { try harness.append(1, (0..<7).map { "\(round)-\($0)" }) }
        let events = try harness.readAll(1)
        #expect(events.map(\.sequence) == Array(0..<350))
        #expect(zip(events, events.dropFirst()).allSatisfy { $0.offset < $1.offset })
        #expect(events.map(\.text) == (0..<50).flatMap { round in (0..<7).map { "\(round)-\($0)" } })
    }

    @Test func `events for other endpoints take no public sequence number`() throws {
        let harness = try LogHarness()
        try harness.append(0, ["a", "b"])
        let other = try harness.append(0, ["x", "y"], destinations: DestinationSet(rawValue: 4))
        let third = try harness.append(0, ["c"], destinations: [.events, DestinationSet(rawValue: 4)])
        #expect(other.firstSequence == 2)
        #expect(third.firstSequence == 2)
        let events = try harness.readAll(0)
        #expect(events.filter { $0.destinations.contains(.events) }.map(\.sequence) == [0, 1, 2])
        #expect(harness.log.info(0)?.lastSequence == 2)
        #expect(harness.log.info(0)?.lastOffset == events.last?.offset)
    }

    @Test func `event hubs 048 numbers and offsets go on after a restart, and a handed out offset still fits`() throws {
        let harness = try LogHarness()
        for round in 0..<100 { try harness.append(round % 3, ["event \(round)", "again \(round)"]) }
        let before = try (0..<3).map { try harness.readAll($0) }
        harness.log.closeStepped()
        try harness.reopen()
        for partition in 0..<3 {
            let after = try harness.readAll(partition)
            #expect(after.map(\.offset) == before[partition].map(\.offset))
            #expect(after.map(\.text) == before[partition].map(\.text))
            let middle = before[partition][20]
            let offset = try harness.locate(partition, .offset(middle.offset, inclusive: true))
            let slice = try harness.read(partition, from: offset)
            #expect(slice.frames.flatMap { Array($0) }.first { $0.offset >= offset }?.text == middle.text)
        }
        let result = try harness.append(0, ["new"])
        #expect(result.firstSequence == Int64(before[0].count))
    }

    @Test func `event hubs 025 a partition that never held an event says so`() throws {
        let harness = try LogHarness()
        let info = try #require(harness.log.info(2))
        #expect(info.beginSequence == 0 && info.lastSequence == -1 && info.lastOffset == -1)
        #expect(info.lastEnqueuedMilliseconds == nil && info.isEmpty)
    }

    @Test func `another partition count is refused with what to do`() throws {
        let harness = try LogHarness()
        harness.configuration.partitionCount = 4
        #expect(throws: EventLogError.partitionCountMismatch(existing: 3, requested: 4)) { try harness.reopen() }
    }

    @Test func `threads append, acknowledge and read on a real disk`() async throws {
        let directory = "/tmp/roost-log-\(UInt64.random(in: 0...UInt64.max))"
        var configuration = EventLogConfiguration(directory: directory, partitionCount: 4)
        configuration.fileBytes = 1 << 20
        configuration.batchBytesMax = 64 << 10
        configuration.commitBytesMax = 256 << 10
        configuration.freeBytesReserved = 0
        configuration.keeperMilliseconds = 20
        configuration.markMilliseconds = 10
        let log = try EventLog.open(configuration, logger: LogHarness.quiet)
        let loops = MultiThreadedEventLoopGroup.singleton
        let woken = Atomic(0)
        let watch = try #require(log.watch(1, on: loops.next()) { woken.add(1, ordering: .relaxed) })
        try await withThrowingTaskGroup(of: Void.self) { group in
            for writer in 0..<8 {
                group.addTask {
                    let loop = loops.next()
                    for round in 0..<200 {
                        let texts = (0..<16).map { "\(writer) \(round) \($0) " + String(repeating: "x", count: 200) }
                        _ = try await log.append(LogHarness.batch(writer % 4, texts), on: loop).get()
                    }
                }
            }
            try await group.waitForAll()
        }
        #expect(woken.load(ordering: .relaxed) > 0)
        watch.cancel()
        for partition in 0..<4 {
            var offset: Int64 = 0
            var sequences: [Int64] = []
            while true {
                let slice = try await log.read(partition, from: offset, bytesMax: 100_000, on: loops.next()).get()
                if slice.isEmpty { break }
                for frame in slice.frames { sequences += frame.map(\.sequence) }
                offset = slice.nextOffset
            }
            #expect(sequences == Array(0..<6400))
        }
        #expect(log.statistics.syncs > 0)
        await log.close()
        let report = try EventLog.check(configuration)
        #expect(report.events == 25_600 && report.damage.isEmpty)
        for name in try PosixFileSystem().list(directory) { try PosixFileSystem().remove(directory + "/" + name) }
    }
}
