// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import EventLog
import HubTesting
import NIOCore
import Synchronization
import Testing

@Suite struct ReadingTests {
    /// What a log with no limits would answer.
    private struct Model {
        struct Event {
            var sequence: Int64
            var offset: Int64
            var time: Int64
            var isPublic: Bool
        }

        var events: [Event] = []

        func first(_ query: LogQuery) -> Int64? {
            events.first { event in
                switch query {
                case .earliest: true
                case .latest: false
                case .sequence(let n, let inclusive):
                    event.isPublic && (inclusive ? event.sequence >= n : event.sequence > n)
                case .offset(let n, let inclusive): inclusive ? event.offset >= n : event.offset > n
                case .enqueuedTime(let n, let inclusive): inclusive ? event.time >= n : event.time > n
                }
            }?.offset
        }
    }

    @Test(arguments: 0..<20)
    func `event hubs 030 event hubs 031 every starting position finds the event that a simple model finds`(
        seed: Int
    ) throws {
        var random = SeededRandom(seed: UInt64(seed))
        var configuration = LogHarness.configuration(partitions: 1)
        configuration.tailBytesPerPartition = [500, 50_000][seed % 2]
        let harness = try LogHarness(seed: UInt64(seed), configuration)
        var model = Model()
        for round in 0..<60 {
            if random.one(in: 20) {
                harness.log.closeStepped()
                try harness.reopen(now: 1_000_000 + Int64(round) * 100)
            }
            let isPublic = !random.one(in: 4)
            let texts = (0..<Int.random(in: 1...5, using: &random)).map { _ in
                String(repeating: "x", count: Int.random(in: 0..<400, using: &random))
            }
            let result = try harness.append(0, texts, destinations: isPublic ? .events : DestinationSet(rawValue: 2))
            var (sequence, offset) = (result.firstSequence, result.firstOffset)
            for text in texts {
                model.events.append(
                    Model.Event(
                        sequence: sequence,
                        offset: offset,
                        time: result.enqueuedMilliseconds,
                        isPublic: isPublic
                    )
                )
                if isPublic { sequence += 1 }
                offset += 8 + Int64(text.utf8.count)
            }
            if random.one(in: 5) { harness.log.keep() }
        }
        #expect(try harness.readAll(0).map(\.offset) == model.events.map(\.offset))
        for _ in 0..<60 {
            let pick = try #require(model.events.randomElement(using: &random))
            let inclusive = Bool.random(using: &random)
            let near = Int64.random(in: -1...1, using: &random)
            let query: LogQuery =
                switch Int.random(in: 0..<4, using: &random) {
                case 0: .sequence(pick.sequence + near, inclusive: inclusive)
                case 1: .offset(pick.offset + near, inclusive: inclusive)
                case 2: .enqueuedTime(pick.time + near, inclusive: inclusive)
                default: near == 0 ? .latest : .earliest
                }
            let found = try harness.locate(0, query)
            var (slice, events) = (try harness.read(0, from: found), [StoredEvent]())
            while !slice.isEmpty {
                events += slice.frames.joined().filter { $0.offset >= found }
                slice = try harness.read(0, from: slice.nextOffset)
            }
            // Events for other endpoints in front of a numbered one are read too, and left out by the reader.
            if case .sequence = query { events.removeAll { !$0.destinations.contains(.events) } }
            #expect(events.first?.offset == model.first(query), "\(query)")
        }
    }

    @Test func `event hubs 030 latest is fixed at the moment of the call`() throws {
        let harness = try LogHarness()
        try harness.append(0, ["old"])
        let future = harness.log.locate(0, .latest, on: harness.loop)
        try harness.append(0, ["new"])
        let slice = try harness.read(0, from: try future.wait())
        #expect(slice.frames.joined().map(\.text) == ["new"])
    }

    @Test func `event hubs 032 a position that retention has passed continues at the first retained event`() throws {
        var configuration = LogHarness.configuration(partitions: 1)
        configuration.retentionBytes = 100 << 10
        let harness = try LogHarness(configuration)
        for round in 0..<200 { try harness.append(0, ["\(round) " + String(repeating: "x", count: 1500)]) }
        harness.log.keep()
        let begin = try #require(harness.log.info(0)?.beginSequence)
        #expect(begin > 100 && begin < 190)
        #expect(try harness.readAll(0).map(\.sequence) == Array(begin..<200))
        let offset = try harness.locate(0, .sequence(3, inclusive: true))
        #expect(try harness.read(0, from: offset).frames.first?.firstSequence == begin)
        harness.log.closeStepped()
        try harness.reopen()
        #expect(harness.log.info(0)?.beginSequence == begin)
        #expect(try harness.readAll(0).first?.sequence == begin)
    }

    @Test func `numbers survive a partition that retention by time has emptied`() throws {
        let harness = try LogHarness(LogHarness.configuration(partitions: 2))
        for _ in 0..<5 { try harness.append(1, ["event"]) }
        let offset = try #require(harness.log.info(1)?.lastOffset)
        harness.log.closeStepped()
        let later: Int64 = 1_000_000 + 90_000_000
        try harness.reopen(now: later)
        try harness.append(0, ["other"])
        harness.log.keep()
        let info = try #require(harness.log.info(1))
        #expect(info.isEmpty && info.beginSequence == 5 && info.lastSequence == 4 && info.lastOffset == offset)
        #expect(info.lastEnqueuedMilliseconds == 1_000_000)
        harness.log.closeStepped()
        harness.disk.crash()
        try harness.reopen(now: later)
        let result = try harness.append(1, ["after"])
        #expect(result.firstSequence == 5 && result.firstOffset > offset)
    }

    @Test func `the enqueued time never goes back`() throws {
        let harness = try LogHarness()
        #expect(try harness.append(0, ["a"]).enqueuedMilliseconds == 1_000_000)
        harness.log.closeStepped()
        try harness.reopen(now: 500)
        #expect(try harness.append(0, ["b"]).enqueuedMilliseconds == 1_000_000)
    }

    @Test func `memory holds the newest events and says when a reader is older`() throws {
        let harness = try LogHarness(LogHarness.configuration(partitions: 1))
        for round in 0..<30 { try harness.append(0, ["\(round) " + String(repeating: "x", count: 500)]) }
        guard case .cold = harness.log.readResident(0, from: 0, bytesMax: 1000) else {
            Issue.record("the oldest event is still in memory")
            return
        }
        let last = try #require(harness.log.info(0)?.lastOffset)
        guard case .slice(let slice) = harness.log.readResident(0, from: last, bytesMax: 1000) else {
            Issue.record("the newest event is not in memory")
            return
        }
        #expect(Array(slice.frames.joined()).last?.text.hasPrefix("29 ") == true)
        guard case .atEnd = harness.log.readResident(0, from: slice.nextOffset, bytesMax: 1000) else {
            Issue.record("the end is not seen")
            return
        }
    }

    @Test func `a watch is called once for a commit, after the acknowledgement, until it is cancelled`() throws {
        let harness = try LogHarness()
        let story = Mutex<[String]>([])
        let watch = try #require(harness.log.watch(1, on: harness.loop) { story.withLock { $0.append("wake") } })
        for number in 0..<2 {
            harness.log.append(LogHarness.batch(1, ["\(number)"]), on: harness.loop)
                .whenSuccess { _ in story.withLock { $0.append("ack") } }
        }
        harness.run()
        #expect(story.withLock { $0 } == [])
        harness.log.step()
        harness.run()
        #expect(story.withLock { $0 } == ["ack", "ack", "wake"])
        watch.cancel()
        try harness.append(1, ["more"])
        #expect(story.withLock { $0 } == ["ack", "ack", "wake"])
    }
}
