// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import AMQP
import AMQPFront
import Hub
import HubModel
import NIOCore
import NIOEmbedded
import Synchronization
import Testing

/// Services that send commands to `messages/devicebound`.
@Suite struct CommandSenderTests {
    static let address = "amqps://myhub.example.net/messages/devicebound"

    static func attach(_ client: FrontClient, _ address: String = Self.address) throws -> Link {
        var attach = Attach(name: client.nextName("sender"), handle: 0, role: .sender)
        attach.source = Source(address: "here")
        attach.target = Target(address: address)
        return try client.attach(attach)
    }

    static func message(_ body: String = "x", to: String? = "/devices/dev1/messages/devicebound") -> Message {
        var message = Message()
        message.properties = MessageProperties()
        message.properties?.to = to
        message.body = .data(ByteBuffer(string: body))
        return message
    }

    /// The states of what was sent, by delivery id.
    static func states(_ client: FrontClient, _ link: Link) -> [DeliveryState] {
        client.events.compactMap { event in
            if case .disposition(let other, _, let state?, true) = event, other === link { state } else { nil }
        }
    }

    static func condition(_ state: DeliveryState?) -> AMQPCondition? {
        guard case .rejected(let error?)? = state, error.description?.isEmpty == false else { return nil }
        return error.condition
    }

    private func send(_ message: Message, _ client: FrontClient, _ link: Link) -> DeliveryState? {
        client.engine.send(on: link, settled: false) { message.encode(into: &$0) }
        client.run()
        return Self.states(client, link).last
    }

    @Test(arguments: [
        "amqps://myhub.example.net/messages/devicebound", "amqps://myhub.example.net:5671/messages/deviceBound",
        "/messages/devicebound", "messages/DeviceBound/",
    ]) func `amqp 029 a command is accepted on every spelling of the address`(_ address: String) throws {
        let fixture = FrontFixture()
        let client = try fixture.service()
        let link = try Self.attach(client, address)
        #expect(link.state == .attached && link.remoteAttach.target?.address == address)
        #expect(link.credit == 50)
        #expect(send(Self.message("hello"), client, link) == .accepted)
        #expect(fixture.commands.bodies == ["hello"])
    }

    @Test(arguments: [
        ("/devices/dev1/messages/devicebound", "dev1"), ("/devices/dev1/messages/deviceBound", "dev1"),
        ("devices/dev1/messages/devicebound", "dev1"),
        ("amqps://myhub.example.net/devices/dev1/messages/devicebound", "dev1"),
        ("/devices/a%2Bb/messages/devicebound", "a+b"), ("/devices/a+b/messages/devicebound", "a+b"),
        ("/devices/a%25b/messages/devicebound", "a%b"), ("/devices/a%b/messages/devicebound", "a%b"),
        ("/devices/50%25/messages/devicebound", "50%25"),
    ]) func `amqp 068 amqp 030 each spelling of a device reaches its queue`(_ to: String, _ device: String) throws {
        let fixture = FrontFixture()
        fixture.commands.state.withLock { $0.devices = ["dev1", "a+b", "a%b", "50%25"] }
        let client = try fixture.service()
        #expect(send(Self.message(to: to), client, try Self.attach(client)) == .accepted)
        #expect(fixture.commands.state.withLock { $0.drafts.map(\.device) } == [device])
        #expect(fixture.commands.state.withLock { $0.drafts.map(\.message.to) } == [to])
    }

    @Test func `what a link leaves under way does not count against its session for good`() throws {
        var limits = AMQPFrontLimits()
        limits.engine.unsettledMax = 4
        let fixture = FrontFixture(limits: limits)
        let client = try fixture.service()
        for _ in 0..<5 {
            fixture.commands.state.withLock { $0.holdsAnswers = true }
            let link = try Self.attach(client)
            for _ in 0..<2 {
                try #require(client.engine.canSend(on: link))
                client.engine.send(on: link, settled: false) { Self.message().encode(into: &$0) }
            }
            client.run()
            client.engine.detach(link)
            client.run()
            fixture.commands.release()
            client.run()
        }
        fixture.commands.state.withLock { $0.holdsAnswers = false }
        #expect(send(Self.message(), client, try Self.attach(client)) == .accepted)
    }

    @Test func `amqp 067 an unknown device is not-found, and the link stays`() throws {
        let fixture = FrontFixture()
        let client = try fixture.service()
        let link = try Self.attach(client)
        let none = send(Self.message(to: "/devices/none/messages/devicebound"), client, link)
        #expect(Self.condition(none) == .notFound)
        let module = send(Self.message(to: "/devices/dev1/modules/m/messages/deviceBound"), client, link)
        #expect(Self.condition(module) == .notFound)
        #expect(link.state == .attached)
        #expect(send(Self.message(), client, link) == .accepted)
    }

    @Test(arguments: [
        nil, "", "/devices/dev1", "/devices/dev1/messages/events", "/devices//messages/devicebound", "dev1",
        "/devices/a b/messages/devicebound",
    ]) func `an address that names no queue is an argument error`(_ to: String?) throws {
        let fixture = FrontFixture()
        let client = try fixture.service()
        #expect(Self.condition(send(Self.message(to: to), client, try Self.attach(client))) == .argumentError)
        #expect(fixture.commands.bodies.isEmpty)
    }

    @Test func `amqp 077 each failure has its condition and a description`() throws {
        let fixture = FrontFixture()
        let client = try fixture.service()
        let link = try Self.attach(client)
        let wanted: [(HubErrorCode, AMQPCondition)] = [
            (.deviceMaximumQueueDepthExceeded, .resourceLimitExceeded), (.storageFull, .serverBusy),
            (.throttled, .serverBusy), (.internalError, .internalError),
        ]
        for (code, condition) in wanted {
            fixture.commands.state.withLock { $0.error = HubError(code, "No.") }
            #expect(Self.condition(send(Self.message(), client, link)) == condition)
        }
        fixture.commands.state.withLock { $0.error = nil }
        var message = Self.message()
        message.properties?.absoluteExpiryTime = 1_000
        #expect(Self.condition(send(message, client, link)) == .argumentError)
        message.properties?.absoluteExpiryTime = fixture.hub.clock.milliseconds + 10 * 86_400_000
        #expect(Self.condition(send(message, client, link)) == .argumentError)
        message = Self.message()
        message.applicationProperties = [.string("iothub-ack"): .string("always")]
        #expect(Self.condition(send(message, client, link)) == .argumentError)
        message.applicationProperties = [.string("list"): .list([])]
        #expect(Self.condition(send(message, client, link)) == .argumentError)
        message = Self.message()
        message.body = .value(.map([:]))
        #expect(Self.condition(send(message, client, link)) == .argumentError)
        message = Self.message()
        message.properties?.messageID = .bool(true)
        #expect(Self.condition(send(message, client, link)) == .argumentError)
        let large = Self.message(String(repeating: "x", count: 65_537))
        #expect(Self.condition(send(large, client, link)) == .messageSizeExceeded)
        client.engine.send(on: link, settled: false) { $0.writeBytes([0, 0x53, 0x75, 0xa0, 9]) }
        client.run()
        #expect(Self.condition(Self.states(client, link).last) == .decodeError)
        #expect(link.state == .attached && fixture.commands.bodies.isEmpty)
    }

    @Test func `properties arrive as they were sent, ids and values as text`() throws {
        let fixture = FrontFixture()
        let client = try fixture.service()
        let link = try Self.attach(client)
        var message = Self.message("body")
        message.properties?.messageID = .uuid(AMQPUUID(high: 0x0123_4567_89AB_CDEF, low: 0xFEDC_BA98_7654_3210))
        message.properties?.correlationID = .ulong(17)
        message.properties?.userID = ByteBuffer(string: "me")
        message.properties?.contentType = "application/json"
        message.properties?.contentEncoding = "utf-8"
        message.properties?.absoluteExpiryTime = fixture.hub.clock.milliseconds + 60_000
        message.applicationProperties = [
            .string("iothub-ack"): .string("Full"), .string("b"): .string("1"), .string("a"): .int(-2),
            .string("t"): .bool(true), .string("bin"): .binary(ByteBuffer(bytes: [1, 2, 3])), .string("n"): .null,
        ]
        #expect(send(message, client, link) == .accepted)
        let sent = try #require(fixture.commands.state.withLock { $0.drafts.first }).message
        #expect(sent.messageID == "01234567-89ab-cdef-fedc-ba9876543210" && sent.correlationID == "17")
        #expect(sent.userID == Array("me".utf8))
        #expect(sent.contentType == "application/json" && sent.contentEncoding == "utf-8")
        #expect(sent.expiresMilliseconds == fixture.hub.clock.milliseconds + 60_000)
        #expect(sent.acknowledgement == .full)
        let expected = [("b", "1"), ("a", "-2"), ("t", "true"), ("bin", "AQID"), ("n", "")]
        #expect(sent.properties == expected.map { MessageProperty(name: $0.0, value: $0.1) })
        message.properties?.messageID = .binary(ByteBuffer(bytes: [0xff, 0]))
        message.applicationProperties = nil
        message.body = .none
        #expect(send(message, client, link) == .accepted)
        let second = try #require(fixture.commands.state.withLock { $0.drafts.last }).message
        #expect(second.messageID == "/wA=" && second.acknowledgement == .none && second.body.readableBytes == 0)
    }

    @Test func `a command is accepted when it is durable and not before`() throws {
        let fixture = FrontFixture()
        let client = try fixture.service()
        let link = try Self.attach(client)
        fixture.commands.state.withLock { $0.holdsAnswers = true }
        #expect(send(Self.message(), client, link) == nil)
        fixture.commands.release()
        client.run()
        #expect(Self.states(client, link) == [.accepted])
    }

    @Test func `several senders keep their orders, also behind an id that may be encoded`() throws {
        let fixture = FrontFixture()
        fixture.commands.state.withLock { $0.devices = ["dev1", "a+b"] }
        let client = try fixture.service()
        let (first, second) = (try Self.attach(client), try Self.attach(client))
        fixture.commands.state.withLock { $0.holdsAnswers = true }
        for index in 0..<4 {
            let encoded = index == 1 ? "a%2Bb" : "dev1"
            let message = Self.message("f\(index)", to: "/devices/\(encoded)/messages/devicebound")
            client.engine.send(on: first, settled: false) { message.encode(into: &$0) }
            client.engine.send(on: second, settled: false) { Self.message("s\(index)").encode(into: &$0) }
        }
        client.run()
        for _ in 0..<4 {
            fixture.commands.release()
            client.run()
        }
        #expect(fixture.commands.bodies.filter { $0.hasPrefix("f") } == ["f0", "f1", "f2", "f3"])
        #expect(fixture.commands.bodies.filter { $0.hasPrefix("s") } == ["s0", "s1", "s2", "s3"])
        #expect(Self.states(client, first).count == 4 && Self.states(client, second).count == 4)
    }

    @Test func `commands under way are bounded by credit, which comes back as they are settled`() throws {
        var limits = AMQPFrontLimits()
        limits.commandCredit = 10
        let fixture = FrontFixture(limits: limits)
        let client = try fixture.service()
        let link = try Self.attach(client)
        fixture.commands.state.withLock { $0.holdsAnswers = true }
        var sent = 0
        func sendAll() {
            while client.engine.canSend(on: link) {
                client.engine.send(on: link, settled: false) { Self.message("\(sent)").encode(into: &$0) }
                sent += 1
            }
            client.run()
        }
        for _ in 0..<5 { sendAll() }
        #expect(sent == 10)
        fixture.commands.release()
        client.run()
        for _ in 0..<5 { sendAll() }
        #expect(sent == 20)
        fixture.commands.state.withLock { $0.holdsAnswers = false }
        fixture.commands.release()
        client.run()
        for _ in 0..<10 { sendAll() }
        #expect(sent > 40 && Self.states(client, link).count == sent)
    }

    @Test func `a connection that ends while commands are under way leaves nothing behind`() throws {
        let fixture = FrontFixture()
        let client = try fixture.service()
        let link = try Self.attach(client)
        fixture.commands.state.withLock { $0.holdsAnswers = true }
        #expect(send(Self.message(), client, link) == nil)
        client.channel.close(promise: nil)
        fixture.loop.run()
        fixture.commands.release()
        fixture.loop.run()
        #expect(fixture.commands.bodies == ["x"])
    }

    @Test func `services need a policy with ServiceConnect, and links end with their token`() throws {
        let fixture = FrontFixture()
        let client = try fixture.client()
        for role in [LinkRole.sender, .receiver] {
            var attach = Attach(name: client.nextName(), handle: 0, role: role)
            let path = role == .sender ? "messages/devicebound" : "messages/servicebound/feedback"
            attach.source = Source(address: path)
            attach.target = Target(address: path)
            #expect(client.error(of: try client.attach(attach))?.condition == .unauthorizedAccess)
        }
        #expect(try client.putToken(fixture.token("myhub.example.net", expiresIn: 60, hubDialect: true)) == 200)
        let link = try Self.attach(client)
        #expect(link.state == .attached)
        #expect(try client.putToken(fixture.token("myhub.example.net", expiresIn: 100, hubDialect: true)) == 200)
        fixture.advance(seconds: 200)
        client.run()
        #expect(link.state == .attached)
        for _ in 0..<23 { fixture.advance(seconds: 10) }
        client.run()
        #expect(client.error(of: link)?.condition == .unauthorizedAccess)
        let narrow = try fixture.client()
        #expect(try narrow.putToken(fixture.token("myhub.example.net/messages/deviceBound", hubDialect: true)) == 200)
        #expect(try Self.attach(narrow).state == .attached)
        let other = try fixture.client()
        #expect(try other.putToken(fixture.token("myhub.example.net/messages/events", hubDialect: true)) == 200)
        #expect(other.error(of: try Self.attach(other))?.condition == .unauthorizedAccess)
    }

    @Test(arguments: [
        "messages/devicebound", "messages/servicebound/feedback", "messages/serviceBound/fileNotifications",
    ])
    func `a link of the wrong direction is not allowed`(_ path: String) throws {
        let client = try FrontFixture().service()
        var attach = Attach(
            name: client.nextName(),
            handle: 0,
            role: path == "messages/devicebound" ? .receiver : .sender
        )
        attach.source = Source(address: path)
        attach.target = Target(address: path)
        #expect(client.error(of: try client.attach(attach))?.condition == .notAllowed)
    }
}
