// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import EventLog
import HubTesting
import NIOCore
import Testing

@Suite struct DamageTests {
    /// A log with two events in each of two partitions for each of five commits, its end marked, its checkpoint gone.
    private func story(seed: UInt64 = 1) throws -> LogHarness {
        let harness = try LogHarness(seed: seed, LogHarness.configuration(partitions: 2))
        for round in 0..<5 {
            for partition in 0..<2 {
                try harness.append(partition, ["a \(partition) \(round)", "b \(partition) \(round)"])
            }
        }
        harness.log.closeStepped()
        return harness
    }

    private func journal(_ harness: LogHarness) throws -> String {
        "/log/"
            + (try #require(
                try harness.disk.list("/log").filter { $0.hasSuffix(".journal") && $0 != "spare.journal" }.max()
            ))
    }

    private func removeCheckpoints(_ harness: LogHarness) throws {
        for name in try harness.disk.list("/log") where name.hasSuffix(".index") {
            try harness.disk.remove("/log/" + name)
        }
    }

    /// Bytes of the journal that hold frames: up to the last byte that is not zero.
    private func frameBytes(_ harness: LogHarness) throws -> Range<Int> {
        let content = try #require(harness.disk.content(journal(harness)))
        let last = try #require(content.lastIndex { $0 != 0 })
        return 4096..<last + 1
    }

    @Test func `any flipped bit of synced events is reported, and nothing else is cut`() throws {
        let bytes = try frameBytes(story())
        for byte in stride(from: bytes.lowerBound, to: bytes.upperBound, by: 7) {
            let harness = try story()
            try removeCheckpoints(harness)
            harness.disk.flipBit(try journal(harness), byte: byte, bit: byte % 8)
            let report = try EventLog.check(harness.configuration, fileSystem: harness.disk)
            try harness.reopen()
            let events = try (0..<2).map { try harness.readAll($0).map(\.text) }
            let all = (0..<2).map { partition in
                (0..<5).flatMap { ["a \(partition) \($0)", "b \(partition) \($0)"] }
            }
            // The last frame is the mark: nothing is behind it to prove that it was durable, and it holds no event.
            let isMark = byte >= bytes.upperBound - 130
            #expect(isMark || !report.damage.isEmpty, "byte \(byte) is not reported")
            let lost = (0..<2).map { Set(all[$0]).subtracting(events[$0]) }
            #expect(lost[0].count + lost[1].count <= 2, "byte \(byte) cuts \(lost)")
            for partition in 0..<2 {
                #expect(lost[partition].isEmpty || harness.log.isDamaged(partition), "byte \(byte) is silent")
            }
        }
    }

    @Test func `a damaged partition takes no events until the repair, and no number is used again`() throws {
        let harness = try story()
        try removeCheckpoints(harness)
        let bytes = try frameBytes(harness)
        harness.disk.flipBit(try journal(harness), byte: bytes.lowerBound + 500, bit: 3)
        try harness.reopen()
        let damaged = try #require((0..<2).first { harness.log.isDamaged($0) })
        let other = 1 - damaged
        #expect(throws: EventLogError.partitionDamaged(damaged)) { try harness.append(damaged, ["x"]) }
        #expect(try harness.append(other, ["x"]).firstSequence == 10)
        harness.log.closeStepped()

        let report = try EventLog.repair(harness.configuration, fileSystem: harness.disk)
        #expect(report.damagedPartitions == [damaged])
        try harness.reopen()
        #expect(try harness.append(damaged, ["new"]).firstSequence == 10)
        let sequences = try harness.readAll(damaged).map(\.sequence)
        #expect(sequences.count == 9 && Set(sequences).count == 9 && sequences.last == 10)
        #expect(try harness.readAll(other).count == 11)
    }

    @Test func `damage in a closed file is found by the reader and stops the partition`() throws {
        let harness = try LogHarness(LogHarness.configuration(partitions: 1))
        for round in 0..<40 { try harness.append(0, ["\(round) " + String(repeating: "x", count: 1500)]) }
        harness.log.keep()
        harness.disk.flipBit("/log/0000000001.journal", byte: 9000, bit: 1)
        #expect(throws: EventLogError.partitionDamaged(0)) { try harness.readAll(0) }
        #expect(throws: EventLogError.partitionDamaged(0)) { try harness.append(0, ["more"]) }
    }

    @Test func `a missing journal file between others is damage`() throws {
        let harness = try LogHarness(LogHarness.configuration(partitions: 1))
        for round in 0..<80 { try harness.append(0, ["\(round) " + String(repeating: "x", count: 1500)]) }
        harness.log.closeStepped()
        try harness.disk.remove("/log/0000000002.journal")
        let report = try EventLog.check(harness.configuration, fileSystem: harness.disk)
        #expect(report.damage.map(\.file) == ["0000000002.journal"])
    }

    @Test func `a write that a crash tore is cut, reported, and disturbs nothing`() throws {
        let harness = try story()
        try removeCheckpoints(harness)
        let path = try journal(harness)
        let end = try frameBytes(harness).upperBound
        // Something like the beginning of a frame behind the end, as a torn write leaves it.
        let content = try #require(harness.disk.content(path))
        let file = try harness.disk.open(path, create: false)
        let place = (end + 7) / 8 * 8
        var frame = ByteBuffer(bytes: content[4096..<4296])
        frame.setInteger(UInt64(1) << 32 | UInt64(place), at: 16)
        _ = try file.write([frame], at: Int64(place))
        try file.sync()
        let report = try EventLog.check(harness.configuration, fileSystem: harness.disk)
        #expect(report.damage.isEmpty)
        #expect(report.torn != nil)
        try harness.reopen()
        #expect(try harness.append(0, ["next"]).firstSequence == 10)
        #expect(try harness.readAll(0).count == 11)
    }
}
