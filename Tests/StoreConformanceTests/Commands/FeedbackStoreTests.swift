// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import EmbeddedStore
import HubModel
import Testing

/// One test for each sentence of `CommandStore`'s documentation that is about feedback.
struct FeedbackStoreTests {
    /// Has one command end, and says how.
    private func end(
        _ queue: CommandFixture,
        _ id: String?,
        _ mode: FeedbackMode,
        as status: FeedbackStatus,
        at seconds: Int64 = 0
    ) async throws {
        try await queue.enqueue(id, mode, at: seconds, expires: seconds + 5)
        switch status {
        case .success, .rejected:
            let token = try await queue.lock(until: seconds + 60, at: seconds).commands[0].token
            try await queue.settle(token, status == .success ? .completed : .rejected, at: seconds)
        case .expired:
            try await queue.sweep(at: seconds + 5)
        case .deliveryCountExceeded:
            for _ in 0..<10 {
                let token = try await queue.lock(until: seconds + 60, at: seconds).commands[0].token
                try await queue.settle(token, .abandoned, at: seconds)
            }
        case .purged:
            _ = try await queue.store.purge("d", atMilliseconds: CommandFixture.milliseconds(seconds))
        }
    }

    @Test(arguments: FeedbackMode.allCases, FeedbackStatus.allCases)
    func `messages 033 a command's end is told where its sender asked for it`(
        _ mode: FeedbackMode,
        _ status: FeedbackStatus
    ) async throws {
        let queue = try CommandFixture()
        try await queue.create("d", generation: "638449000000000000")
        try await self.end(queue, "m", mode, as: status)
        #expect(try await queue.count() == 0)
        let records = try await queue.feedback(at: 10)?.records ?? []
        let asked: Bool =
            switch mode {
            case .none: false
            case .positive: status == .success
            case .negative: status != .success
            case .full: true
            }
        let record = FeedbackRecord(
            messageID: "m",
            device: "d",
            generationID: "638449000000000000",
            status: status,
            milliseconds: CommandFixture.milliseconds(status == .expired ? 5 : 0)
        )
        #expect(records == (asked ? [record] : []))
    }

    @Test func `a batch is full or its oldest record has waited`() async throws {
        let queue = try CommandFixture()
        try await queue.create("d")
        for number in 0..<3 { try await self.end(queue, "\(number)", .full, as: .success, at: 10 + Int64(number)) }
        #expect(try await queue.feedback(max: 4, ready: 9, at: 12) == nil)
        let full = try #require(try await queue.feedback(max: 2, ready: 9, at: 12))
        #expect(full.records.map(\.messageID) == ["0", "1"])
        #expect(full.enqueuedMilliseconds == CommandFixture.milliseconds(11))
        #expect(try await queue.feedback(max: 2, ready: 11, at: 12) == nil)
        let ready = try #require(try await queue.feedback(max: 2, ready: 12, at: 12))
        #expect(ready.records.map(\.messageID) == ["2"])
        #expect(ready.sequenceNumber > full.sequenceNumber)
        #expect(try await queue.feedback(max: 2, ready: 100, at: 12) == nil)
    }

    @Test func `a command without a name is told of with an empty one`() async throws {
        let queue = try CommandFixture()
        try await queue.create("d")
        try await self.end(queue, nil, .full, as: .success)
        #expect(try await queue.feedback()?.records.map(\.messageID) == [""])
    }

    @Test func `no two locked batches hold the same record`() async throws {
        let queue = try CommandFixture()
        try await queue.create("d")
        for number in 0..<5 { try await self.end(queue, "\(number)", .full, as: .success) }
        let first = try #require(try await queue.feedback(max: 2))
        let second = try #require(try await queue.feedback(max: 2))
        try await queue.settleFeedback(first.token, .released)
        let third = try #require(try await queue.feedback(max: 3))
        #expect(second.records.map(\.messageID) == ["2", "3"])
        #expect(third.records.map(\.messageID) == ["0", "1", "4"])
        try await queue.settleFeedback(third.token, .completed)
        #expect(try await queue.feedback() == nil)
        try await queue.settleFeedback(second.token, .completed)
    }

    @Test func `messages 037 a batch that was not settled in time waits again, uncounted`() async throws {
        let queue = try CommandFixture()
        try await queue.create("d")
        try await self.end(queue, "a", .full, as: .success)
        let first = try #require(try await queue.feedback())
        #expect(try await queue.feedback(at: 59) == nil)
        #expect(try await !queue.sweep(at: 59).hasFeedback)
        #expect(try await queue.sweep(at: 60).hasFeedback)
        let second = try #require(try await queue.feedback(at: 60))
        #expect(second.records == first.records)
        #expect(second.token != first.token)
        #expect(second.deliveryCount == 0)
        #expect(
            await queue.code { try await queue.settleFeedback(first.token, .completed, at: 61) } == .messageLockLost
        )
    }

    @Test func `a batch that was abandoned comes again until it was so too often`() async throws {
        let queue = try CommandFixture()
        try await queue.create("d")
        try await self.end(queue, "a", .full, as: .success)
        for count in 0..<10 {
            let batch = try #require(try await queue.feedback())
            #expect(batch.deliveryCount == count)
            #expect(try await queue.settleFeedback(batch.token, .abandoned) == (count < 9 ? 1 : 0))
        }
        #expect(try await queue.feedback() == nil)
    }

    @Test func `completed and rejected batches are gone and a lock is settled once`() async throws {
        let queue = try CommandFixture()
        try await queue.create("d")
        for outcome in [CommandOutcome.completed, .rejected] {
            try await self.end(queue, "a", .full, as: .success)
            let batch = try #require(try await queue.feedback())
            #expect(try await queue.settleFeedback(batch.token, outcome) == 0)
            #expect(await queue.code { try await queue.settleFeedback(batch.token, outcome) } == .messageLockLost)
            #expect(try await queue.feedback() == nil)
        }
        #expect(await queue.code { try await queue.settleFeedback(LockToken(), .completed) } == .messageLockLost)
    }

    @Test func `records that are over are in no batch, but a batch that is locked stays`() async throws {
        let queue = try CommandFixture()
        try await queue.create("d")
        for id in ["a", "b"] { try await self.end(queue, id, .full, as: .success) }
        let locked = try #require(try await queue.feedback(max: 1, until: 4000, at: 3599))
        try await queue.sweep(at: 3600)
        #expect(try await queue.feedback(at: 3600) == nil)
        try await queue.settleFeedback(locked.token, .completed, at: 3601)
    }

    @Test func `where more records wait than may a sweep drops the oldest`() async throws {
        var limits = Limits()
        limits.commands.feedback.recordsMax = 3
        let queue = try CommandFixture(limits: limits)
        try await queue.create("d")
        for number in 0..<5 { try await self.end(queue, "\(number)", .full, as: .success) }
        try await queue.sweep(at: 0)
        #expect(try await queue.feedback()?.records.map(\.messageID) == ["2", "3", "4"])
    }

    @Test func `a step drops no more records than it may and says that there are more`() async throws {
        let queue = try CommandFixture()
        try await queue.create("d")
        for number in 0..<5 { try await self.end(queue, "m\(number)", .full, as: .success) }
        let first = try await queue.sweep(at: 3600, limit: 2)
        #expect(first.hasFeedback && first.hasMore)
        // What is over is in no batch.
        #expect(try await queue.feedback(at: 3600) == nil)
        #expect(try await queue.sweep(at: 3600, limit: 2).hasMore == false)
        #expect(try await queue.sweep(at: 3600, limit: 2).hasFeedback == false)
    }

    @Test func `records that are over are not locked with those between which they stand`() async throws {
        var limits = Limits()
        limits.commands.sweepStepMax = 0
        let queue = try CommandFixture(limits: limits)
        try await queue.create("d")
        try await self.end(queue, "old", .full, as: .success, at: 100)
        try await self.end(queue, "older", .full, as: .success, at: 0)
        try await self.end(queue, "young", .full, as: .success, at: 200)
        let batch = try #require(try await queue.feedback(at: 3601))
        #expect(batch.records.map(\.messageID) == ["old", "young"])
        try await queue.settleFeedback(batch.token, .released, at: 3601)
        #expect(try await queue.sweep(at: 3601).hasFeedback)
    }

    @Test func `a clock that is set back does not keep records waiting`() async throws {
        let queue = try CommandFixture()
        try await queue.create("d")
        try await self.end(queue, "m", .full, as: .success, at: 7200)
        #expect(try await queue.feedback(ready: -1, at: 0)?.records.count == 1)
    }
}
