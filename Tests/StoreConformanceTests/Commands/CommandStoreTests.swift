// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import EmbeddedStore
import FoundationEssentials
import HubModel
import NIOCore
import Synchronization
import Testing

/// One test for each sentence of `CommandStore`'s documentation that is about commands.
struct CommandStoreTests {
    @Test func `a command waits with what its sender wrote and the time it was taken`() async throws {
        let queue = try CommandFixture()
        try await queue.create("d")
        let message = CommandMessage(
            messageID: "m-1",
            correlationID: "c-ü",
            userID: [0, 255, 7],
            to: "/devices/d/messages/deviceBound",
            contentType: "application/json",
            contentEncoding: "utf-8",
            expiresMilliseconds: CommandFixture.milliseconds(100),
            acknowledgement: .full,
            properties: [
                MessageProperty(name: "a/b", value: "c d"), MessageProperty(name: "empty", value: ""),
            ],
            body: ByteBuffer(bytes: [0, 1, 2, 255])
        )
        let draft = CommandDraft(
            device: "d",
            message: message,
            expiresMilliseconds: CommandFixture.milliseconds(100),
            milliseconds: CommandFixture.milliseconds(0)
        )
        let answered = try await queue.enqueue(draft)
        let plain = CommandMessage(to: "", body: ByteBuffer())
        let second = try await queue.enqueue(
            CommandDraft(
                device: "d",
                message: plain,
                expiresMilliseconds: CommandFixture.milliseconds(50),
                milliseconds: CommandFixture.milliseconds(1)
            )
        )
        let locked = try await queue.lock(at: 2).commands.map(\.command)
        #expect(locked == [answered, second])
        #expect(locked[0].message == message)
        #expect(locked[1].message == plain)
        #expect(locked[0].enqueuedMilliseconds == CommandFixture.milliseconds(0))
        #expect(locked[0].expiresMilliseconds == CommandFixture.milliseconds(100))
        #expect(locked[0].deliveryCount == 0)
    }

    @Test func `sequence numbers rise over all queues and none is given twice`() async throws {
        let queue = try CommandFixture()
        try await queue.create("d", "e")
        var last: Int64 = 0
        for number in 0..<6 {
            let command = try await queue.enqueue("\(number)", to: number % 2 == 0 ? "d" : "e")
            #expect(command.sequenceNumber > last)
            last = command.sequenceNumber
            if number % 3 == 2 { _ = try await queue.store.purge("d", atMilliseconds: 0) }
            if number == 4 {
                try await queue.delete("e")
                try await queue.create("e", generation: "2")
            }
        }
    }

    @Test func `a command for a missing device is refused`() async throws {
        let queue = try CommandFixture()
        #expect(await queue.code { try await queue.enqueue("a") } == .deviceNotFound)
        try await queue.create("d")
        #expect(await queue.code { try await queue.enqueue("a", to: "D") } == .deviceNotFound)
        #expect(await queue.code { _ = try await queue.store.purge("D", atMilliseconds: 0) } == .deviceNotFound)
    }

    @Test func `messages 026 the 51st command is refused and locked ones count`() async throws {
        let queue = try CommandFixture()
        try await queue.create("d", "e")
        for number in 0..<50 { try await queue.enqueue("\(number)") }
        let locked = try await queue.lock(max: 10).commands
        #expect(await queue.code { try await queue.enqueue("50") } == .deviceMaximumQueueDepthExceeded)
        #expect(try await queue.count() == 50)
        try await queue.enqueue("other", to: "e")
        try await queue.settle(locked[0].token, .completed)
        try await queue.enqueue("50")
        #expect(await queue.code { try await queue.enqueue("51") } == .deviceMaximumQueueDepthExceeded)
    }

    @Test func `commands that are over do not fill the queue`() async throws {
        let queue = try CommandFixture()
        try await queue.create("d")
        for number in 0..<49 { try await queue.enqueue("\(number)") }
        try await queue.enqueue("short", .full, expires: 10)
        #expect(await queue.code { try await queue.enqueue("a", at: 9) } == .deviceMaximumQueueDepthExceeded)
        try await queue.enqueue("a", at: 10)
        #expect(try await queue.feedback(at: 10)?.records.map(\.status) == [.expired])
    }

    @Test func `messages 066 commands and feedback go with their device`() async throws {
        let queue = try CommandFixture()
        try await queue.create("d", "e")
        try await queue.enqueue("a", .full)
        try await queue.enqueue("b", to: "e", .full)
        try await queue.enqueue("c", .full)
        let token = try await queue.lock(max: 1).commands[0].token
        try await queue.settle(token, .completed)
        try await queue.delete("d")
        try await queue.create("d", generation: "2")
        #expect(try await queue.ids() == [])
        #expect(try await queue.feedback() == nil)
        #expect(try await queue.ids("e") == ["b"])
    }

    @Test func `another generation of a device has an empty queue and the same one keeps it`() async throws {
        let queue = try CommandFixture()
        try await queue.create("d")
        try await queue.enqueue("a")
        try await queue.create("d")
        #expect(try await queue.count() == 1)
        try await queue.create("d", generation: "2")
        #expect(try await queue.count() == 0)
        try await queue.enqueue("b")
        #expect(try await queue.lock(generation: "1").commands.isEmpty)
        #expect(try await queue.lock(generation: "2").commands.count == 1)
    }

    @Test func `the oldest commands are locked in their order and once`() async throws {
        let queue = try CommandFixture()
        try await queue.create("d", "e")
        for id in ["a", "b", "c", "d"] { try await queue.enqueue(id) }
        try await queue.enqueue("x", to: "e")
        let first = try await queue.lock(max: 3).commands
        #expect(first.map(\.command.message.messageID) == ["a", "b", "c"])
        #expect(Set(first.map(\.token)).count == 3)
        #expect(first.allSatisfy { !$0.isRedelivery })
        #expect(try await queue.ids(connection: 1) == ["d"])
        #expect(try await queue.ids() == [])
    }

    @Test func `messages 024 a command whose lock timed out waits again, uncounted`() async throws {
        let queue = try CommandFixture()
        try await queue.create("d")
        try await queue.enqueue("a")
        let first = try await queue.lock(at: 0).commands[0]
        #expect(try await queue.ids(at: 59) == [])
        let second = try await queue.lock(until: 120, at: 60).commands[0]
        #expect(second.command == first.command)
        #expect(!first.isRedelivery && second.isRedelivery)
        #expect(await queue.code { try await queue.settle(first.token, .completed, at: 61) } == .messageLockLost)
        try await queue.settle(second.token, .abandoned, at: 61)
        #expect(try await queue.lock(at: 62).commands[0].command.deliveryCount == 1)
    }

    @Test func `a newer connection takes what an older one holds, and not the other way round`() async throws {
        let queue = try CommandFixture()
        try await queue.create("d")
        try await queue.enqueue("a")
        try await queue.enqueue("b", .full, expires: 10)
        let older = try await queue.lock(connection: 1).commands
        let newer = try await queue.lock(connection: 2, until: 70, at: 10)
        #expect(newer.commands.map(\.command.message.messageID) == ["a"])
        #expect(newer.commands.map(\.isRedelivery) == [true])
        // What expired in the hands of the older one is over.
        #expect(newer.change == CommandChange(endedCount: 1, feedbackCount: 1))
        for lock in older {
            #expect(await queue.code { try await queue.settle(lock.token, .completed, at: 10) } == .messageLockLost)
        }
        #expect(try await queue.ids(connection: 1, at: 10) == [])
        #expect(try await queue.ids(connection: nil, at: 10) == [])
        try await queue.settle(newer.commands[0].token, .completed, at: 10)
    }

    @Test func `a lock may last until its command expires`() async throws {
        let queue = try CommandFixture()
        try await queue.create("d")
        try await queue.enqueue("a", expires: 600)
        try await queue.enqueue("b", expires: 30)
        let locked = try await queue.lock(holds: true).commands
        #expect(try await queue.sweep(at: 59).change == CommandChange())
        #expect(try await queue.ids(at: 599) == [])
        try await queue.settle(locked[0].token, .completed, at: 599)
        #expect(await queue.code { try await queue.settle(locked[1].token, .completed, at: 60) } == .messageLockLost)
    }

    @Test func `messages 027 what is over is not locked but ends as expired`() async throws {
        let queue = try CommandFixture()
        try await queue.create("d")
        try await queue.enqueue("a", .negative, expires: 10)
        try await queue.enqueue("b", .positive, expires: 10)
        try await queue.enqueue("c", expires: 11)
        let result = try await queue.lock(at: 10)
        #expect(result.commands.map(\.command.message.messageID) == ["c"])
        #expect(result.change == CommandChange(endedCount: 2, feedbackCount: 1))
        #expect(try await queue.count() == 1)
        let record = try #require(try await queue.feedback(at: 10)?.records.first)
        #expect(record.messageID == "a")
        #expect(record.status == .expired)
        #expect(record.milliseconds == CommandFixture.milliseconds(10))
    }

    @Test func `a command that expires while it is locked may be completed until its lock is over`() async throws {
        let queue = try CommandFixture()
        try await queue.create("d")
        try await queue.enqueue("a", .full, expires: 10)
        try await queue.enqueue("b", .full, expires: 10)
        let locked = try await queue.lock().commands
        #expect(try await queue.sweep(at: 11).change.endedCount == 0)
        try await queue.settle(locked[0].token, .completed, at: 12)
        #expect(
            try await queue.sweep(at: 60).change == CommandChange(endedCount: 1, returnedCount: 1, feedbackCount: 1)
        )
        #expect(try await queue.feedback(at: 61)?.records.map(\.status) == [.success, .expired])
    }

    @Test func `messages 025 a command that was abandoned waits at its old place until it was so too often`()
        async throws
    {
        let queue = try CommandFixture()
        try await queue.create("d")
        try await queue.enqueue("a", .full)
        try await queue.enqueue("b")
        for count in 0..<10 {
            let locked = try await queue.lock(max: 1).commands[0]
            #expect(locked.command.message.messageID == "a")
            #expect(locked.command.deliveryCount == count)
            let change = try await queue.settle(locked.token, .abandoned)
            #expect(change.returnedCount == (count < 9 ? 1 : 0))
            #expect(change.endedCount == (count < 9 ? 0 : 1))
        }
        #expect(try await queue.ids() == ["b"])
        #expect(try await queue.feedback()?.records.map(\.status) == [.deliveryCountExceeded])
    }

    @Test func `a command that was released waits at its old place, uncounted`() async throws {
        let queue = try CommandFixture()
        try await queue.create("d")
        for id in ["a", "b"] { try await queue.enqueue(id) }
        let locked = try await queue.lock().commands
        #expect(try await queue.settle(locked[0].token, .released) == CommandChange(returnedCount: 1))
        let again = try await queue.lock().commands
        #expect(again.map(\.command) == [locked[0].command])
        #expect(again[0].token != locked[0].token)
    }

    @Test func `a command that connections lose comes again until that was too often, where its lock says so`()
        async throws
    {
        let queue = try CommandFixture()
        try await queue.create("d")
        try await queue.enqueue("a", .full)
        try await queue.enqueue("b")
        for count in 0..<10 {
            let locked = try await queue.lock(connection: UInt64(count), holds: true).commands
            #expect(locked.map(\.command.message.messageID) == ["a", "b"])
            #expect(locked.map(\.command.deliveryCount) == [count, count > 0 ? count - 1 : 0])
            // The second one is not the device's fault once.
            if count == 0 { try await queue.settle(locked[1].token, .released) }
            let change = try await queue.settle(.ofConnection(UInt64(count)), .lost)
            #expect(change.endedCount == (count < 9 ? 0 : 1))
        }
        #expect(try await queue.ids(connection: 20) == ["b"])
        #expect(try await queue.feedback()?.records.map(\.status) == [.deliveryCountExceeded])
    }

    @Test func `a newer connection counts what an older one has lost, where its lock says so`() async throws {
        let queue = try CommandFixture()
        try await queue.create("d")
        try await queue.enqueue("a", .negative)
        try await queue.enqueue("b")
        _ = try await queue.lock(max: 1, connection: 1, holds: true)
        _ = try await queue.lock(max: 1, connection: 1)
        for count in 1...9 {
            let locked = try await queue.lock(connection: UInt64(count + 1), holds: true).commands
            #expect(locked.map(\.command.deliveryCount) == [count, count - 1])
        }
        let last = try await queue.lock(connection: 11, holds: true)
        #expect(last.commands.map(\.command.message.messageID) == ["b"])
        #expect(last.change == CommandChange(endedCount: 1, feedbackCount: 1))
        #expect(try await queue.settle(.ofConnection(10), .lost) == CommandChange())
        #expect(try await queue.feedback()?.records.map(\.status) == [.deliveryCountExceeded])
    }

    @Test func `messages 024 what an AMQP connection loses is not counted`() async throws {
        let queue = try CommandFixture()
        try await queue.create("d")
        try await queue.enqueue("a")
        for connection: UInt64 in 1...20 {
            #expect(try await queue.lock(connection: connection).commands.map(\.command.deliveryCount) == [0])
            if connection.isMultiple(of: 2) { try await queue.settle(.ofConnection(connection), .lost) }
        }
    }

    @Test func `a connection's locks are settled together and it may have none`() async throws {
        let queue = try CommandFixture()
        try await queue.create("d", "e")
        for id in ["a", "b", "c"] { try await queue.enqueue(id) }
        try await queue.enqueue("x", to: "e")
        _ = try await queue.lock(max: 2, connection: 8)
        _ = try await queue.lock(max: 1, connection: 7)
        _ = try await queue.lock("e", connection: 8)
        let change = try await queue.settle(.ofConnection(8), .released)
        #expect(change == CommandChange(returnedCount: 2))
        #expect(try await queue.settle(.ofConnection(8), .released) == CommandChange())
        #expect(try await queue.ids(connection: nil) == ["a", "b"])
        #expect(try await queue.ids("e") == [])
    }

    @Test func `messages 023 only a lock that is held can be settled`() async throws {
        let queue = try CommandFixture()
        try await queue.create("d", "e")
        try await queue.enqueue("a")
        let token = try await queue.lock().commands[0].token
        for outcome in CommandOutcome.allCases {
            #expect(await queue.code { try await queue.settle(LockToken(), outcome) } == .messageLockLost)
            #expect(await queue.code { try await queue.settle(token, outcome, of: "e") } == .messageLockLost)
            #expect(await queue.code { try await queue.settle(token, outcome, at: 60) } == .messageLockLost)
        }
        try await queue.settle(token, .completed, at: 59)
        #expect(await queue.code { try await queue.settle(token, .completed, at: 59) } == .messageLockLost)
        #expect(try await queue.count() == 0)
    }

    @Test func `messages 029 a purge ends all commands of the device, locked ones too, and counts them`()
        async throws
    {
        let queue = try CommandFixture()
        try await queue.create("d", "e")
        for id in ["a", "b", "c"] { try await queue.enqueue(id, .negative) }
        try await queue.enqueue("x", to: "e")
        let token = try await queue.lock(max: 1).commands[0].token
        let change = try await queue.store.purge("d", atMilliseconds: CommandFixture.milliseconds(1))
        #expect(change == CommandChange(endedCount: 3, feedbackCount: 3))
        #expect(await queue.code { try await queue.settle(token, .completed) } == .messageLockLost)
        #expect(try await queue.count("e") == 1)
        #expect(try await queue.store.purge("d", atMilliseconds: 0) == CommandChange())
        #expect(try await queue.feedback(at: 1)?.records.map(\.status) == [.purged, .purged, .purged])
    }

    @Test func `messages 032 the count holds what waits and what is locked`() async throws {
        let queue = try CommandFixture()
        try await queue.create("d", "e", "f")
        for id in ["a", "b", "c"] { try await queue.enqueue(id) }
        try await queue.enqueue("x", to: "e")
        let token = try await queue.lock(max: 1).commands[0].token
        #expect(try await queue.store.counts(of: ["d", "f", "missing", "e\"'"]) == ["d": 3])
        try await queue.settle(token, .completed)
        #expect(try await queue.store.counts(of: ["d", "e"]) == ["d": 2, "e": 1])
        #expect(try await queue.store.counts(of: []) == [:])
    }

    @Test func `a sweep unlocks what timed out and ends what is over, as far as it may`() async throws {
        let queue = try CommandFixture()
        try await queue.create("d", "e")
        for id in ["a", "b", "c"] { try await queue.enqueue(id, .full, expires: 100) }
        try await queue.enqueue("x", to: "e", expires: 1000)
        _ = try await queue.lock(max: 2)
        _ = try await queue.lock("e", until: 200)
        #expect(
            try await queue.sweep(at: 59)
                == CommandSweep(change: .init(), devices: [], hasFeedback: false, hasMore: false)
        )
        let first = try await queue.sweep(at: 60, limit: 1)
        #expect(first.change == CommandChange(returnedCount: 1))
        #expect(first.devices == ["d"])
        #expect(first.hasMore)
        let second = try await queue.sweep(at: 100, limit: 2)
        #expect(second.change == CommandChange(endedCount: 2, returnedCount: 1, feedbackCount: 2))
        #expect(second.hasMore)
        #expect(second.hasFeedback)
        let third = try await queue.sweep(at: 100, limit: 2)
        #expect(third.change == CommandChange(endedCount: 1, feedbackCount: 1))
        #expect(!third.hasMore)
        #expect(try await queue.count("e") == 1)
    }

    @Test func `steps that wait together succeed or fail each by itself`() async throws {
        let queue = try CommandFixture()
        try await queue.create("d", "e")
        let outcomes = await withTaskGroup(of: HubErrorCode?.self) { group in
            for number in 0..<120 {
                let device = number % 4 == 0 ? "missing" : number % 4 == 1 ? "e" : "d"
                group.addTask { await queue.code { try await queue.enqueue("\(number)", to: device) } }
            }
            return await group.reduce(into: [:]) { $0[$1, default: 0] += 1 }
        }
        #expect(outcomes == [nil: 80, .deviceNotFound: 30, .deviceMaximumQueueDepthExceeded: 10])
        #expect(try await queue.store.counts(of: ["d", "e"]) == ["d": 50, "e": 30])
    }

    @Test func `steps of one thread take effect and are answered in their order`() async throws {
        let queue = try CommandFixture()
        try await queue.create("d")
        let answers = Mutex<[String]>([])
        await withCheckedContinuation { continuation in
            for number in 0..<40 {
                let draft = CommandDraft(
                    device: "d",
                    message: queue.message("\(number)"),
                    expiresMilliseconds: CommandFixture.milliseconds(60),
                    milliseconds: CommandFixture.milliseconds(0)
                )
                queue.store.enqueue(draft) { outcome in
                    if case .success(let command) = outcome {
                        answers.withLock { $0.append(command.message.messageID ?? "") }
                    }
                }
            }
            let request = CommandLockRequest(
                device: "d",
                max: 100,
                untilMilliseconds: CommandFixture.milliseconds(60),
                milliseconds: CommandFixture.milliseconds(0)
            )
            queue.store.lockNext(request) { outcome in
                if case .success(let result) = outcome {
                    answers.withLock { $0 += result.commands.map { "locked \($0.command.message.messageID ?? "")" } }
                }
                continuation.resume()
            }
        }
        let numbers = (0..<40).map { "\($0)" }
        #expect(answers.withLock { $0 } == numbers + numbers.map { "locked \($0)" })
    }

    @Test func `after the store was opened again the locks of connections and of feedback are gone, others stay`()
        async throws
    {
        let folder = FileManager.default.temporaryDirectory.appending(path: "roost-commands-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: folder) }
        let path = folder.appending(path: "state.sqlite").path
        let first = try StateDatabase(path: path)
        let before = try CommandFixture(first)
        try await before.create("d")
        for id in ["a", "b", "c", "d"] { try await before.enqueue(id, .full) }
        let held = try await before.lock(max: 1, connection: nil).commands[0]
        _ = try await before.lock(max: 1, connection: 1)
        let done = try await before.lock(max: 1, connection: 1).commands[0]
        try await before.settle(done.token, .rejected)
        #expect(try await before.feedback() != nil)
        try first.close()

        let second = try StateDatabase(path: path)
        let after = try CommandFixture(second)
        #expect(try await after.ids(connection: 1) == ["b", "d"])
        try await after.settle(held.token, .completed)
        #expect(try await after.feedback()?.records.map(\.status) == [.rejected, .success])
        #expect(try await after.enqueue("e").sequenceNumber > 4)
        try second.close()
    }
}
