// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import EventLog
import HubTesting
import Logging
import NIOCore
import NIOEmbedded
import Synchronization

/// A life story of a log on a disk that loses what was not synced, made from one seed: appends, reads, restarts and power
/// cuts; after each of them all that was promised is looked for.
final class CrashHistory {
    struct Broken: Error, CustomStringConvertible {
        var description: String
    }

    private struct Known {
        var sequence: Int64
        var text: String
    }

    /// What the outside world knows of one partition.
    private struct Partition {
        /// Events that were acknowledged or read, by offset: they must never be lost or change.
        var known: [Int64: Known] = [:]
        /// The only event that a sequence number may ever stand for.
        var owners: [Int64: String] = [:]
        var lastAcknowledged: Int64 = -1
    }

    let seed: UInt64
    let disk: FakeDisk
    private(set) var crashes = 0
    private(set) var acknowledged = 0
    private var random: SeededRandom
    private var configuration: EventLogConfiguration
    private let now = Clock()
    private var partitions: [Partition]
    private var eventNumber = 0
    private var unkind: FakeDisk.Faults
    private let drops: Bool

    private final class Clock: Sendable {
        let milliseconds = Atomic<Int64>(1_000_000)
    }

    init(seed: UInt64, faults: FakeDisk.Faults = FakeDisk.Faults()) {
        self.seed = seed
        disk = FakeDisk(seed: seed &* 31 &+ 7)
        random = SeededRandom(seed: seed)
        unkind = faults
        configuration = LogHarness.configuration(partitions: Int.random(in: 1...3, using: &random))
        configuration.fileBytes = 16 << 10
        configuration.batchBytesMax = 2 << 10
        configuration.commitBytesMax = 3 << 10
        configuration.frameBytesMax = [200, 1000, 4000].randomElement(using: &random) ?? 1000
        configuration.tailBytesPerPartition = [0, 1000, 100_000].randomElement(using: &random) ?? 0
        configuration.retryMilliseconds = 0
        drops = random.one(in: 3)
        if drops { configuration.retentionBytes = 80 << 10 }
        partitions = Array(repeating: Partition(), count: configuration.partitionCount)
    }

    /// Lives until so many power cuts have happened.
    func run(crashes limit: Int) throws {
        while crashes < limit { try live() }
    }

    /// From a start to the next power cut.
    private func live() throws {
        var faults = unkind
        // Some cuts hit recovery itself.
        if random.one(in: 6) { faults.powerCutAfter = Int.random(in: 0..<12, using: &random) }
        disk.setFaults(faults)
        defer {
            disk.crash()
            crashes += 1
        }
        let clock = LogClock(
            milliseconds: { [now] in now.milliseconds.load(ordering: .relaxed) },
            nanoseconds: { 0 }
        )
        let log: EventLog
        do {
            log = try EventLog.open(configuration, fileSystem: disk, clock: clock, logger: LogHarness.quiet)
        } catch is LogFileError {
            return
        }
        let loop = EmbeddedEventLoop()
        defer { cutPower(log, loop) }
        do {
            // While the new file can't be made, what was found behind the last proof is not shown to readers.
            guard log.isWritable else { return }
            for partition in partitions.indices {
                if log.isDamaged(partition) { throw Broken(description: "partition \(partition) is called damaged") }
                try verify(partition, log, loop)
            }
        } catch is EventLogError {
            return
        }
        faults = unkind
        faults.shortWrites = random.one(in: 2) ? 4 : 0
        faults.failedWrites = random.one(in: 4) ? 12 : 0
        faults.failedSyncs = random.one(in: 4) ? 12 : 0
        faults.powerCutAfter = Int.random(in: 0..<60, using: &random)
        disk.setFaults(faults)
        for _ in 0..<Int.random(in: 1..<30, using: &random) { try act(log, loop) }
        if random.one(in: 4) { log.closeStepped() }
        loop.run()
    }

    private func act(_ log: EventLog, _ loop: EmbeddedEventLoop) throws {
        now.milliseconds.add(Int64.random(in: -50..<500, using: &random), ordering: .relaxed)
        switch Int.random(in: 0..<10, using: &random) {
        case 0..<5: append(log, loop)
        case 5..<8: log.step()
        case 8: log.keep()
        default:
            do {
                try verify(Int.random(in: partitions.indices, using: &random), log, loop)
            } catch is EventLogError {
                return
            }
        }
        loop.run()
    }

    private func append(_ log: EventLog, _ loop: EmbeddedEventLoop) {
        let partition = Int.random(in: partitions.indices, using: &random)
        var batch = AppendBatch(partition: partition)
        var events: [(text: String, isPublic: Bool, start: Int)] = []
        for _ in 0..<Int.random(in: 1...4, using: &random) {
            eventNumber += 1
            let text = "\(eventNumber) " + String(repeating: "x", count: Int.random(in: 0..<300, using: &random))
            let isPublic = !random.one(in: 5)
            events.append((text, isPublic, batch.bytes))
            batch.append(ByteBuffer(string: text), destinations: isPublic ? .events : DestinationSet(rawValue: 2))
        }
        log.append(batch, on: loop).assumeIsolated().whenSuccess { [self] result in
            acknowledged += events.count
            var sequence = result.firstSequence
            if result.firstOffset <= partitions[partition].lastAcknowledged {
                note("offset \(result.firstOffset) went back")
            }
            for event in events {
                let offset = result.firstOffset + Int64(event.start)
                learn(partition, offset, Known(sequence: sequence, text: event.text), isPublic: event.isPublic)
                if event.isPublic { sequence += 1 }
                partitions[partition].lastAcknowledged = offset
            }
        }
    }

    private var failure: String?
    private func note(_ text: String) { failure = failure ?? text }

    private func learn(_ partition: Int, _ offset: Int64, _ event: Known, isPublic: Bool) {
        if let before = partitions[partition].known[offset],
            before.text != event.text || before.sequence != event.sequence
        {
            note("offset \(offset) of partition \(partition) changed from \(before) to \(event)")
        }
        partitions[partition].known[offset] = event
        guard isPublic else { return }
        if let owner = partitions[partition].owners[event.sequence], owner != event.text {
            note("number \(event.sequence) of partition \(partition) was used twice")
        }
        partitions[partition].owners[event.sequence] = event.text
    }

    /// Reads a whole partition: everything known is there, in order and whole; and what was read is known from now on.
    private func verify(_ partition: Int, _ log: EventLog, _ loop: EmbeddedEventLoop) throws {
        let end = log.info(partition)?.lastSequence
        var (offset, lastOffset, lastTime): (Int64, Int64, Int64) = (0, -1, 0)
        var nextSequence: Int64?
        var first: Int64?
        var seen: Set<Int64> = []
        while true {
            let future = log.read(partition, from: offset, bytesMax: 1500, on: loop)
            log.stepReads()
            loop.run()
            let slice = try future.wait()
            if slice.isEmpty { break }
            for event in slice.frames.joined() {
                first = first ?? event.offset
                if event.offset <= lastOffset || event.enqueuedMilliseconds < lastTime { note("order is broken") }
                if let nextSequence, event.sequence < nextSequence { note("numbers go back") }
                (lastOffset, lastTime) = (event.offset, event.enqueuedMilliseconds)
                let isPublic = event.destinations.contains(.events)
                nextSequence = event.sequence + (isPublic ? 1 : 0)
                seen.insert(event.offset)
                let known = Known(sequence: event.sequence, text: String(buffer: event.payload))
                if !isWhole(known.text) { note("event \(event.offset) is torn") }
                learn(partition, event.offset, known, isPublic: isPublic)
            }
            offset = slice.nextOffset
        }
        for known in partitions[partition].known.keys where !seen.contains(known) {
            if drops, known < first ?? .max { continue }
            note("event at \(known) of partition \(partition) is lost; the log ends at number \(end ?? -1)")
        }
        if let failure { throw Broken(description: failure) }
    }

    private func isWhole(_ text: String) -> Bool {
        guard let space = text.utf8.firstIndex(of: UInt8(ascii: " ")), Int(text[..<space]) != nil else { return false }
        return text.utf8[space...].dropFirst().allSatisfy { $0 == UInt8(ascii: "x") }
    }

    /// The dead log fails what still waits, and does not touch the disk again.
    private func cutPower(_ log: EventLog, _ loop: EmbeddedEventLoop) {
        var dark = unkind
        dark.powerCutAfter = 0
        disk.setFaults(dark)
        log.closeStepped()
        loop.run()
    }
}
