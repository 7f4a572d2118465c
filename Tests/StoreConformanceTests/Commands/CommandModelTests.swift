// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import EmbeddedStore
import FoundationEssentials
import HubModel
import HubTesting
import NIOCore
import Testing

/// Random steps and crashes on a store, beside a simple model that says what each of them must come to.
struct CommandModelTests {
    @Test(arguments: 1...12)
    func `each command ends in exactly one way, and feedback agrees, whatever happens`(_ seed: Int) async throws {
        var history = try CommandHistory(seed: UInt64(seed))
        defer { history.clean() }
        try await history.run(steps: 300)
        try await history.finish()
    }
}

/// What the model knows of a command.
private struct ModelCommand {
    var id: String
    var mode: FeedbackMode
    var number: Int64
    var expires: Int64
    var count = 0
    var token: LockToken?
    var connection: UInt64?
    var until: Int64 = 0
    var lossCounts = false
    var wasLocked = false

    /// Whether it waits, as a connection sees it for whom the locks of older ones are over.
    func waits(_ now: Int64, for asking: UInt64? = nil) -> Bool {
        guard self.token != nil, self.until > now else { return true }
        guard let asking, let connection = self.connection else { return false }
        return connection < asking
    }
}

private struct ModelRecord {
    var record: FeedbackRecord
    var expires: Int64
    var count = 0
    var token: LockToken?
    var until: Int64 = 0
}

/// One history: the store, the model, and the random choices.
private struct CommandHistory {
    static let limits: Limits = {
        var limits = Limits()
        limits.commands.queueDepthMax = 6
        limits.commands.deliveriesMax = 3
        limits.commands.feedback.deliveriesMax = 2
        limits.commands.feedback.ttlSeconds = 300
        return limits
    }()

    private var random: SeededRandom
    private var disk: CrashingDatabase
    private var queue: CommandFixture
    private var now: Int64 = 0
    private var generations = ["d0": 1, "d1": 1]
    private var lastGeneration = 1
    private var commands: [String: [ModelCommand]] = [:]
    private var feedback: [ModelRecord] = []
    private var ends: [String: FeedbackStatus] = [:]
    private var sentCount = 0
    private var lastNumber: Int64 = 0
    private var stale: [LockToken] = []

    init(seed: UInt64) throws {
        self.random = SeededRandom(seed: seed)
        self.disk = try CrashingDatabase()
        self.queue = try CommandFixture(self.disk.database, limits: Self.limits)
    }

    func clean() {
        self.disk.clean()
    }

    mutating func run(steps: Int) async throws {
        for device in self.generations.keys { try await self.queue.create(device) }
        for _ in 0..<steps {
            switch Int.random(in: 0..<24, using: &self.random) {
            case 0..<7: try await self.enqueue()
            case 7..<11: try await self.lock()
            case 11..<15: try await self.settle()
            case 15: try await self.release()
            case 16: try await self.purge()
            case 17: try await self.sweep()
            case 18: try await self.lockFeedback()
            case 19: try await self.settleFeedback()
            case 20..<22: self.now += Int64.random(in: 0...40, using: &self.random)
            case 22: try await self.crash()
            default: try await self.remake()
            }
            try await self.check()
        }
    }

    /// Lets everything end, and reads what is left to be told.
    mutating func finish() async throws {
        self.now += 100_000
        self.feedback.removeAll { $0.token == nil || $0.until <= self.now }
        try await self.sweep()
        let batch = try await self.queue.feedback(max: 10_000, at: self.now)
        #expect((batch?.records ?? []) == self.feedback.map(\.record))
        for device in self.generations.keys { #expect(try await self.queue.count(device) == 0) }
        #expect(self.ends.count > 20)
        try self.disk.database.close()
    }

    private func check() async throws {
        let counts = try await self.queue.store.counts(of: Array(self.generations.keys))
        for device in self.generations.keys {
            #expect(counts[device] ?? 0 == self.commands[device]?.count ?? 0)
        }
    }

    // MARK: The model's rules

    private var device: String {
        mutating get { Bool.random(using: &self.random) ? "d0" : "d1" }
    }

    /// Ends commands of which something holds, in the model; a command that ended already would be found out.
    private mutating func end(_ device: String, as status: FeedbackStatus, where ends: (ModelCommand) -> Bool) {
        for command in (self.commands[device] ?? []).filter(ends) {
            #expect(self.ends.updateValue(status, forKey: command.id) == nil)
            if command.mode == .full || (command.mode == .positive) == (status == .success) && command.mode != .none {
                let record = FeedbackRecord(
                    messageID: command.id,
                    device: device,
                    generationID: "\(self.generations[device] ?? 0)",
                    status: status,
                    milliseconds: CommandFixture.milliseconds(self.now)
                )
                self.feedback.append(ModelRecord(record: record, expires: self.now + 300))
            }
            if let token = command.token { self.stale.append(token) }
        }
        self.commands[device]?.removeAll(where: ends)
    }

    private mutating func change(_ device: String, _ number: Int64, _ body: (inout ModelCommand) -> Void) {
        guard let index = self.commands[device]?.firstIndex(where: { $0.number == number }) else { return }
        if var command = self.commands[device]?[index] {
            body(&command)
            self.commands[device]?[index] = command
        }
    }

    private mutating func unlock(_ device: String, where concerns: (ModelCommand) -> Bool) {
        for command in self.commands[device] ?? [] where concerns(command) {
            if let token = command.token { self.stale.append(token) }
            self.change(device, command.number) { $0.token = nil }
        }
    }

    /// Takes back, in the model, commands that are locked and of which something holds, and counts that.
    private mutating func lose(_ device: String, where concerns: (ModelCommand) -> Bool) {
        let numbers = (self.commands[device] ?? []).filter { $0.token != nil && concerns($0) }.map(\.number)
        self.unlock(device) { numbers.contains($0.number) }
        for number in numbers { self.change(device, number) { $0.count += 1 } }
        self.end(device, as: .deliveryCountExceeded) { numbers.contains($0.number) && $0.count >= 3 }
    }

    private mutating func expire(_ device: String, for connection: UInt64? = nil) {
        let now = self.now
        self.end(device, as: .expired) { $0.expires <= now && $0.waits(now, for: connection) }
    }

    // MARK: Steps

    private mutating func enqueue() async throws {
        let device = self.device
        let id = "m\(self.sentCount)"
        self.sentCount += 1
        let mode = FeedbackMode.allCases.randomElement(using: &self.random) ?? .none
        let expires = self.now + Int64.random(in: 1...120, using: &self.random)
        if (self.commands[device]?.count ?? 0) >= 6 { self.expire(device) }
        let now = self.now
        let queue = self.queue
        do {
            let command = try await queue.enqueue(id, to: device, mode, at: now, expires: expires)
            #expect((self.commands[device]?.count ?? 0) < 6)
            #expect(command.sequenceNumber > self.lastNumber)
            self.lastNumber = command.sequenceNumber
            self.commands[device, default: []].append(
                ModelCommand(id: id, mode: mode, number: command.sequenceNumber, expires: expires)
            )
        } catch {
            #expect((error as? HubError)?.code == .deviceMaximumQueueDepthExceeded)
            #expect(self.commands[device]?.count == 6)
        }
    }

    private mutating func lock() async throws {
        let device = self.device
        let max = Int.random(in: 1...4, using: &self.random)
        let connection: UInt64? = [UInt64?.none, 1, 2].randomElement(using: &self.random) ?? nil
        let holds = Bool.random(using: &self.random)
        let result = try await self.queue.lock(
            device,
            max: max,
            connection: connection,
            until: self.now + 60,
            holds: holds,
            at: self.now
        )
        self.expire(device, for: connection)
        if let connection {
            self.lose(device) { ($0.connection ?? .max) < connection && $0.lossCounts }
        }
        let now = self.now
        let expected = (self.commands[device] ?? []).filter { $0.waits(now, for: connection) }.prefix(max)
        #expect(result.commands.map(\.isRedelivery) == expected.map(\.wasLocked))
        #expect(result.commands.map(\.command.message.messageID) == expected.map { Optional($0.id) })
        #expect(result.commands.map(\.command.deliveryCount) == expected.map(\.count))
        #expect(result.commands.map(\.command.sequenceNumber) == expected.map(\.number))
        for locked in result.commands {
            self.change(device, locked.command.sequenceNumber) { command in
                command.token = locked.token
                command.wasLocked = true
                command.connection = connection
                command.lossCounts = holds
                command.until = holds ? Swift.max(now + 60, command.expires) : now + 60
            }
        }
    }

    private mutating func settle() async throws {
        let device = self.device
        let outcome = CommandOutcome.allCases.randomElement(using: &self.random) ?? .completed
        let held = (self.commands[device] ?? []).filter { $0.token != nil }
        let pick = held.randomElement(using: &self.random)
        let useStale = self.random.one(in: 6)
        guard let token = useStale ? self.stale.randomElement(using: &self.random) : pick?.token else { return }
        let now = self.now
        let queue = self.queue
        let target = (self.commands[device] ?? []).first { $0.token == token && $0.until > now }
        let code = await queue.code { try await queue.settle(token, outcome, of: device, at: now) }
        #expect(code == (target == nil ? .messageLockLost : nil))
        guard let target else { return }
        switch outcome {
        case .completed: self.end(device, as: .success) { $0.number == target.number }
        case .rejected: self.end(device, as: .rejected) { $0.number == target.number }
        case .lost where target.lossCounts: self.lose(device) { $0.number == target.number }
        case .released, .lost: self.unlock(device) { $0.number == target.number }
        case .abandoned: self.lose(device) { $0.number == target.number }
        }
    }

    private mutating func release() async throws {
        let device = self.device
        let connection: UInt64 = Bool.random(using: &self.random) ? 1 : 2
        let outcome: CommandOutcome = Bool.random(using: &self.random) ? .released : .lost
        let change = try await self.queue.settle(.ofConnection(connection), outcome, of: device, at: self.now)
        let held = (self.commands[device] ?? []).filter { $0.token != nil && $0.connection == connection }
        self.lose(device) { outcome == .lost && $0.connection == connection && $0.lossCounts }
        self.unlock(device) { $0.connection == connection }
        let returned = (self.commands[device] ?? []).count { command in
            held.contains { $0.number == command.number }
        }
        #expect(change.returnedCount == returned)
        #expect(change.endedCount == held.count - returned)
    }

    private mutating func purge() async throws {
        guard self.random.one(in: 2) else { return }
        let device = self.device
        let count = self.commands[device]?.count ?? 0
        let change = try await self.queue.store.purge(device, atMilliseconds: CommandFixture.milliseconds(self.now))
        #expect(change.endedCount == count)
        self.end(device, as: .purged) { _ in true }
    }

    private mutating func sweep() async throws {
        let sweep = try await self.queue.sweep(at: self.now)
        let now = self.now
        let timedOut = self.commands.filter { $0.value.contains { $0.token != nil && $0.until <= now } }.keys
        #expect(Set(sweep.devices) == Set(timedOut))
        for device in self.generations.keys { self.unlock(device) { $0.until <= now } }
        // In the order of their numbers, over all devices, as the records are written.
        let over = self.commands.flatMap { device, commands in
            commands.filter { $0.expires <= now && $0.token == nil }.map { (device, $0.number) }
        }
        for (device, number) in over.sorted(by: { $0.1 < $1.1 }) {
            self.end(device, as: .expired) { $0.number == number }
        }
        #expect(sweep.change.endedCount == over.count)
        self.tidyFeedback()
        #expect(sweep.hasFeedback == self.feedback.contains { $0.token == nil })
    }

    private mutating func tidyFeedback() {
        for index in self.feedback.indices where self.feedback[index].until <= self.now {
            self.feedback[index].token = nil
        }
        let now = self.now
        self.feedback.removeAll { $0.token == nil && $0.expires <= now }
    }

    private mutating func lockFeedback() async throws {
        let max = Int.random(in: 1...5, using: &self.random)
        let ready = self.now - Int64.random(in: 0...20, using: &self.random)
        let batch = try await self.queue.feedback(max: max, ready: ready, at: self.now)
        self.tidyFeedback()
        let waiting = self.feedback.indices.filter { self.feedback[$0].token == nil }.prefix(max)
        guard let oldest = waiting.first,
            waiting.count == max
                || self.feedback[oldest].record.milliseconds <= CommandFixture.milliseconds(ready)
        else {
            #expect(batch == nil)
            return
        }
        #expect(batch?.records == waiting.map { self.feedback[$0].record })
        for index in waiting {
            self.feedback[index].token = batch?.token
            self.feedback[index].until = self.now + 60
        }
    }

    private mutating func settleFeedback() async throws {
        guard let token = self.feedback.compactMap(\.token).randomElement(using: &self.random) else { return }
        let outcome = CommandOutcome.allCases.randomElement(using: &self.random) ?? .completed
        let isHeld = self.feedback.contains { $0.token == token && $0.until > self.now }
        let queue = self.queue
        let now = self.now
        let code = await queue.code { try await queue.settleFeedback(token, outcome, at: now) }
        #expect(code == (isHeld ? nil : .messageLockLost))
        guard isHeld else { return }
        switch outcome {
        case .completed, .rejected: self.feedback.removeAll { $0.token == token }
        case .abandoned:
            self.feedback.removeAll { $0.token == token && $0.count + 1 >= 2 }
            for index in self.feedback.indices where self.feedback[index].token == token {
                self.feedback[index].count += 1
                self.feedback[index].token = nil
            }
        case .released, .lost:
            for index in self.feedback.indices where self.feedback[index].token == token {
                self.feedback[index].token = nil
            }
        }
    }

    /// Goes on with what a killed process would have left: the files as they are, without an orderly close.
    private mutating func crash() async throws {
        try self.disk.crash()
        self.queue = try CommandFixture(self.disk.database, limits: Self.limits)
        for device in self.generations.keys { self.unlock(device) { $0.connection != nil } }
        for index in self.feedback.indices { self.feedback[index].token = nil }
    }

    /// Deletes a device and makes it again: its queue and what is to be told of it are gone.
    private mutating func remake() async throws {
        guard self.random.one(in: 4) else { return }
        let device = self.device
        if Bool.random(using: &self.random) { try await self.queue.delete(device) }
        self.lastGeneration += 1
        try await self.queue.create(device, generation: "\(self.lastGeneration)")
        self.generations[device] = self.lastGeneration
        self.commands[device] = nil
        self.feedback.removeAll { $0.record.device == device }
    }
}
