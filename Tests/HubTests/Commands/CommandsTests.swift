// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import EmbeddedStore
import HubModel
import HubTesting
import JSON
import NIOCore
import Testing

@testable import Hub

struct CommandsTests {
    private let device = IdentityID(device: "d1")

    private func code(_ call: () async throws -> Void) async -> HubErrorCode? {
        do { try await call() } catch { return (error as? HubError)?.code }
        return nil
    }

    private func hub(_ change: (inout CommandLimits) -> Void = { _ in }) async throws -> TwinHub {
        var limits = Limits()
        change(&limits.commands)
        let hub = try TwinHub(limits: limits)
        try await hub.create(self.device)
        return hub
    }

    private func message(_ id: String?, _ mode: FeedbackMode = .none, expires: Int64? = nil) -> CommandMessage {
        CommandMessage(
            messageID: id,
            to: "/devices/d1/messages/deviceBound",
            expiresMilliseconds: expires,
            acknowledgement: mode,
            body: ByteBuffer(string: id ?? "")
        )
    }

    private func send(_ hub: TwinHub, _ message: CommandMessage, to device: String = "d1") async throws {
        let loop = hub.loop
        try await hub.hub.commands.send(message, to: device, on: loop).get()
    }

    private func wantCommands(_ peer: TwinPeer, _ wants: Bool = true) async throws {
        let loop = peer.loop
        try await peer.run { session in
            session.wants(.commands, wants)
            return loop.makeSucceededVoidFuture()
        }
    }

    private func next(_ peer: TwinPeer, max: Int = 100, holds: Bool = false) async throws -> [LockedCommand] {
        try await peer.run { $0.nextCommands(max: max, holdsUntilExpiry: holds) }
    }

    // MARK: Sending

    @Test func `messages 031 what was sent while the device was away is there when it asks`() async throws {
        let hub = try await self.hub()
        for id in ["a", "b"] { try await self.send(hub, self.message(id)) }
        let peer = try await hub.connect(self.device)
        let commands = try await self.next(peer)
        #expect(commands.map(\.command.message.messageID) == ["a", "b"])
        #expect(commands.allSatisfy { $0.command.enqueuedMilliseconds == hub.clock.milliseconds })
    }

    @Test func `messages 011 a command of 65536 bytes is taken and a larger one refused`() async throws {
        let hub = try await self.hub()
        var message = CommandMessage(
            messageID: "m",
            correlationID: "cc",
            userID: [1],
            to: "to",
            contentType: "t",
            contentEncoding: "e",
            properties: [MessageProperty(name: "name", value: "value")],
            body: ByteBuffer(repeating: 7, count: 65_536 - 17)
        )
        try await self.send(hub, message)
        message.body.writeInteger(UInt8(7))
        #expect(await self.code { try await self.send(hub, message) } == .messageTooLarge)
        #expect(try await hub.hub.commands.pendingCount(of: self.device) == 1)
    }

    @Test func `messages 028 an expiry that is past or too far ahead is refused`() async throws {
        let hub = try await self.hub()
        let now = hub.clock.milliseconds
        for expires in [now - 1, now, now + 172_800_001] {
            #expect(
                await self.code { try await self.send(hub, self.message("a", expires: expires)) }
                    == .invalidMessageExpiryTime
            )
        }
        try await self.send(hub, self.message("a", expires: now + 1))
        try await self.send(hub, self.message("b", expires: now + 172_800_000))
        #expect(try await hub.hub.commands.pendingCount(of: self.device) == 2)
    }

    @Test func `without an expiry the default time to live holds`() async throws {
        let hub = try await self.hub { $0.defaultTTLSeconds = 120 }
        let peer = try await hub.connect(self.device)
        try await self.send(hub, self.message("a"))
        let command = try await self.next(peer)[0].command
        #expect(command.expiresMilliseconds == hub.clock.milliseconds + 120_000)
        #expect(command.message.expiresMilliseconds == nil)
    }

    @Test func `an unknown device, a full queue and a long message id are refused`() async throws {
        let hub = try await self.hub { $0.queueDepthMax = 1 }
        #expect(await self.code { try await self.send(hub, self.message("a"), to: "none") } == .deviceNotFound)
        let long = String(repeating: "m", count: 129)
        #expect(await self.code { try await self.send(hub, self.message(long)) } == .argumentInvalid)
        try await self.send(hub, self.message(String(repeating: "m", count: 128)))
        #expect(
            await self.code { try await self.send(hub, self.message("a")) } == .deviceMaximumQueueDepthExceeded
        )
    }

    @Test func `commands of one loop take their places and are answered in the order of the calls`() async throws {
        let hub = try await self.hub()
        let loop = hub.loop
        let commands = hub.hub.commands
        let messages = (0..<30).map { self.message("\($0)") }
        let answered = try await loop.flatSubmit { () -> EventLoopFuture<[Int]> in
            let answers = NIOLoopBoundBox([Int](), eventLoop: loop)
            let sent = messages.enumerated().map { number, message in
                commands.send(message, to: "d1", on: loop).map { answers.value.append(number) }
            }
            return EventLoopFuture.andAllSucceed(sent, on: loop).map { answers.value }
        }.get()
        #expect(answered == Array(0..<30))
        let peer = try await hub.connect(self.device)
        #expect(try await self.next(peer).map(\.command.message.messageID) == (0..<30).map { "\($0)" })
    }

    // MARK: Doorbells

    @Test func `a device that wants commands is told of each, and one that does not is not`() async throws {
        let hub = try await self.hub()
        let peer = try await hub.connect(self.device)
        try await self.send(hub, self.message("a"))
        #expect(try await peer.rings() == 0)
        try await self.wantCommands(peer)
        try await self.send(hub, self.message("b"))
        #expect(try await peer.rings() == 1)
        try await self.wantCommands(peer, false)
        try await self.send(hub, self.message("c"))
        #expect(try await peer.rings() == 1)
    }

    @Test func `a command that was given back rings`() async throws {
        let hub = try await self.hub()
        let peer = try await hub.connect(self.device)
        try await self.send(hub, self.message("a"))
        try await self.wantCommands(peer)
        let token = try await self.next(peer)[0].token
        try await peer.run { $0.settle(token, .abandoned) }
        #expect(try await peer.rings() == 1)
        let again = try await self.next(peer)[0]
        #expect(again.command.deliveryCount == 1)
        try await peer.run { $0.settle(again.token, .completed) }
        #expect(try await peer.rings() == 1)
        #expect(await self.code { try await peer.run { $0.settle(again.token, .completed) } } == .messageLockLost)
    }

    @Test func `what an older connection holds comes to the newer one`() async throws {
        let hub = try await self.hub()
        for id in ["a", "b"] { try await self.send(hub, self.message(id)) }
        let older = try await hub.connect(self.device)
        let held = try await self.next(older, max: 1, holds: true)
        let newer = try await hub.connect(self.device)
        #expect(try await self.next(newer).map(\.command.message.messageID) == ["a", "b"])
        #expect(
            await self.code { try await older.run { $0.settle(held[0].token, .completed) } } == .messageLockLost
        )
        try await older.close()
        #expect(try await hub.hub.commands.pendingCount(of: self.device) == 2)
        #expect(try await self.next(newer).isEmpty)
    }

    @Test(arguments: [true, false])
    func `what a connection holds waits when it ends, counted where it held it until its expiry`(
        _ holds: Bool
    ) async throws {
        let hub = try await self.hub()
        let peer = try await hub.connect(self.device)
        try await self.send(hub, self.message("a"))
        let held = try await self.next(peer, holds: holds)
        try await peer.close()
        // It locks nothing any more.
        #expect(try await self.next(peer).isEmpty)
        let again = try await hub.connect(self.device)
        let commands = try await self.next(again)
        #expect(commands.map(\.command.sequenceNumber) == held.map(\.command.sequenceNumber))
        #expect(commands.map(\.command.deliveryCount) == [holds ? 1 : 0])
        #expect(commands[0].isRedelivery && !held[0].isRedelivery)
    }

    @Test func `messages 024 a lock that timed out rings and the command comes again, uncounted`() async throws {
        let hub = try await self.hub()
        let peer = try await hub.connect(self.device)
        try await self.wantCommands(peer)
        try await self.send(hub, self.message("a"))
        let first = try await self.next(peer)[0]
        hub.clock.advance(seconds: 59)
        _ = try await hub.hub.commands.sweep()
        #expect(try await peer.rings() == 1)
        hub.clock.advance(seconds: 1)
        _ = try await hub.hub.commands.sweep()
        #expect(try await peer.rings() == 2)
        #expect(await self.code { try await peer.run { $0.settle(first.token, .completed) } } == .messageLockLost)
        #expect(try await self.next(peer)[0].command == first.command)
    }

    @Test func `a lock that holds until expiry does not time out before`() async throws {
        let hub = try await self.hub()
        let peer = try await hub.connect(self.device)
        try await self.wantCommands(peer)
        try await self.send(hub, self.message("a", .full))
        let token = try await self.next(peer, holds: true)[0].token
        hub.clock.advance(seconds: 3599)
        _ = try await hub.hub.commands.sweep()
        #expect(try await peer.rings() == 1)
        try await peer.run { $0.settle(token, .completed) }
    }

    @Test func `modules have no commands, nor has a connection of an earlier generation`() async throws {
        let hub = try await self.hub()
        let module = IdentityID(device: "d1", module: "m")
        try await hub.create(module)
        try await self.send(hub, self.message("a"))
        let peer = try await hub.connect(module)
        #expect(try await self.next(peer).isEmpty)
        #expect(try await hub.hub.commands.pendingCount(of: module) == 0)
        let old = try await hub.connect(self.device, generation: "0")
        #expect(try await self.next(old).isEmpty)
    }

    // MARK: Documents

    @Test func `messages 032 the twin's document counts what waits and what is locked`() async throws {
        let hub = try await self.hub()
        for id in ["a", "b"] { try await self.send(hub, self.message(id)) }
        let peer = try await hub.connect(self.device)
        let token = try await self.next(peer, max: 1)[0].token
        func count() async throws -> Int64? {
            let text = try await hub.hub.twins.document(of: self.device).text
            return try JSONDocument(parsing: text).root["cloudToDeviceMessageCount"]?.int
        }
        #expect(try await count() == 2)
        try await peer.run { $0.settle(token, .completed) }
        #expect(try await count() == 1)
        let written = try await hub.patch(self.device, #"{"a":1}"#)
        #expect(try JSONDocument(parsing: written.text).root["cloudToDeviceMessageCount"]?.int == 1)
    }

    // MARK: Time and feedback

    @Test func `messages 027 messages 033 the expiry service ends what is over and feedback tells`() async throws {
        let hub = try await self.hub { limits in
            limits.sweepMilliseconds = 1
            limits.sweepStepMax = 2
            limits.feedback.delayMilliseconds = 0
        }
        for id in ["a", "b", "c", "d", "e"] { try await self.send(hub, self.message(id, .negative)) }
        hub.clock.advance(seconds: 3600)
        let expiry = hub.hub.commandExpiry
        let running = Task { await expiry.run() }
        let bell = RingCounter()
        let watch = hub.hub.feedback.watch(on: hub.loop) { bell.ring() }
        defer { watch.cancel() }
        while try await hub.hub.commands.pendingCount(of: self.device) > 0 { await Task.yield() }
        running.cancel()
        await running.value
        let batch = try #require(try await hub.hub.feedback.next(on: hub.loop).get())
        #expect(batch.records.map(\.messageID) == ["a", "b", "c", "d", "e"])
        #expect(batch.records.allSatisfy { $0.status == .expired && $0.generationID == "1" })
        #expect(batch.enqueuedMilliseconds == hub.clock.milliseconds)
        #expect(bell.count > 0)
    }

    @Test func `messages 029 a purge tells how many commands there were`() async throws {
        let hub = try await self.hub { $0.feedback.delayMilliseconds = 0 }
        for id in ["a", "b"] { try await self.send(hub, self.message(id, .full)) }
        #expect(try await hub.hub.commands.purge("d1") == 2)
        #expect(try await hub.hub.commands.purge("d1") == 0)
        #expect(await self.code { _ = try await hub.hub.commands.purge("none") } == .deviceNotFound)
        let batch = try await hub.hub.feedback.next(on: hub.loop).get()
        #expect(batch?.records.map(\.status) == [.purged, .purged])
    }

    @Test func `watchers are rung when a batch is full, or its records have waited`() async throws {
        let hub = try await self.hub { limits in
            limits.feedback.batchMax = 2
            limits.feedback.delayMilliseconds = 20
        }
        let bell = RingCounter()
        let watch = hub.hub.feedback.watch(on: hub.loop) { bell.ring() }
        // At once, and when what waited before the watch has waited long enough.
        await bell.wait(for: 2)
        #expect(try await hub.hub.feedback.next(on: hub.loop).get() == nil)
        for id in ["a", "b"] { try await self.send(hub, self.message(id, .full)) }
        let peer = try await hub.connect(self.device)
        let commands = try await self.next(peer)
        for command in commands { try await peer.run { $0.settle(command.token, .completed) } }
        await bell.wait(for: 3)
        let full = try #require(try await hub.hub.feedback.next(on: hub.loop).get())
        #expect(full.records.count == 2)
        try await self.send(hub, self.message("c", .full))
        let last = try await self.next(peer)[0]
        try await peer.run { $0.settle(last.token, .rejected) }
        #expect(try await hub.hub.feedback.next(on: hub.loop).get() == nil)
        hub.clock.advance(seconds: 1)
        await bell.wait(for: 5)
        #expect(try await hub.hub.feedback.next(on: hub.loop).get()?.records.map(\.status) == [.rejected])
        watch.cancel()
    }

    @Test func `messages 037 feedback that was not settled comes again`() async throws {
        let hub = try await self.hub { $0.feedback.delayMilliseconds = 0 }
        let feedback = hub.hub.feedback
        try await self.send(hub, self.message("a", .full))
        _ = try await hub.hub.commands.purge("d1")
        let bell = RingCounter()
        let watch = feedback.watch(on: hub.loop) { bell.ring() }
        defer { watch.cancel() }
        await bell.wait(for: 2)
        let first = try #require(try await feedback.next(on: hub.loop).get())
        #expect(try await feedback.next(on: hub.loop).get() == nil)
        try await feedback.settle(first.token, .abandoned, on: hub.loop).get()
        await bell.wait(for: 3)
        let second = try #require(try await feedback.next(on: hub.loop).get())
        #expect(second.deliveryCount == 1)
        hub.clock.advance(seconds: 60)
        _ = try await hub.hub.commands.sweep()
        await bell.wait(for: 4)
        let third = try #require(try await feedback.next(on: hub.loop).get())
        #expect(third.records == first.records)
        #expect(
            await self.code { try await feedback.settle(second.token, .completed, on: hub.loop).get() }
                == .messageLockLost
        )
        try await feedback.settle(third.token, .completed, on: hub.loop).get()
        hub.clock.advance(seconds: 60)
        #expect(try await feedback.next(on: hub.loop).get() == nil)
    }
}
