// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import AMQP
import HubModel
import NIOCore
import NIOEmbedded
import Testing

@testable import AMQPFront

/// A device, a module or a gateway: the engine in client role, against the handler in a channel of which the test drives
/// the time.
@MainActor
final class DeviceClient {
    let hub: DeviceHub
    let channel: NIOAsyncTestingChannel
    let engine: ConnectionEngine
    private(set) var events: [ConnectionEvent] = []
    /// Frames of the hub in order.
    private(set) var frames: [Performative] = []
    /// Bytes of the hub, as they came.
    private(set) var received = ByteBuffer()
    private var names = 0
    private var claims: (sender: Link, receiver: Link)?
    private var first: Session?

    /// What the hub did not do in ten seconds.
    struct TimedOut: Error {}

    init(
        _ hub: DeviceHub,
        sasl: SASLInit? = SASLInit(mechanism: "ANONYMOUS"),
        limits: AMQPLimits = AMQPLimits()
    ) async throws {
        self.hub = hub
        channel = NIOAsyncTestingChannel()
        engine = ConnectionEngine(role: .client(sasl), containerID: "device", limits: limits, now: 0)
        let front = hub.front
        let channel = channel
        try await channel.testingEventLoop.executeInContext {
            try channel.pipeline.syncOperations.addHandler(front.makeHandler())
        }
        try await channel.connect(to: SocketAddress(ipAddress: "127.0.0.1", port: 5671)).get()
        try await settle()
    }

    // MARK: Bytes

    /// Sends what is gathered and takes what comes, until the hub has nothing more to say for now.
    func settle() async throws {
        var idle = 0
        while idle < 3 {
            if engine.hasOutput, channel.isActive {
                try await channel.writeInbound(engine.takeOutput(now: 0))
                idle = 0
            }
            await channel.testingEventLoop.run()
            if try await take() { idle = 0 } else { idle += 1 }
            await Task.yield()
        }
    }

    private func take() async throws -> Bool {
        var hasTaken = false
        while let bytes = try await channel.readOutbound(as: ByteBuffer.self) {
            hasTaken = true
            frames += FrontClient.performatives(bytes)
            received.writeImmutableBuffer(bytes)
            engine.receive(bytes, now: 0)
            while let event = engine.nextEvent() { events.append(event) }
        }
        return hasTaken
    }

    /// Goes on until something is so.
    func wait(for condition: @MainActor () throws -> Bool) async throws {
        let deadline = ContinuousClock.now + .seconds(10)
        while try !condition() {
            guard ContinuousClock.now < deadline else { throw TimedOut() }
            try await settle()
        }
    }

    /// Whether the hub has kept the connection open.
    var isOpen: Bool { channel.isActive }

    /// Sends bytes as they are.
    func sendRaw(_ bytes: ByteBuffer) async throws {
        try await channel.writeInbound(bytes)
        try await settle()
    }

    func disconnect() async throws {
        try await channel.close().get()
        await channel.testingEventLoop.run()
    }

    // MARK: Links

    func session() async throws -> Session {
        if let first { return first }
        let session = try await begin()
        first = session
        return session
    }

    func begin() async throws -> Session {
        let session = try #require(engine.begin())
        try await wait { session.state == .active }
        return session
    }

    private func attach(_ attach: Attach, on session: Session?, credit: UInt32) async throws -> Link {
        let on: Session
        if let session { on = session } else { on = try await self.session() }
        let link = try #require(engine.attach(attach, on: on, credit: credit))
        try await wait {
            link.state == .attached && (link.role == .receiver || link.credit > 0) || error(of: link) != nil
        }
        return link
    }

    func sender(
        _ address: String,
        name: String? = nil,
        on session: Session? = nil,
        settled: Bool = false,
        properties: AMQPMap? = nil
    ) async throws -> Link {
        names += 1
        var attach = Attach(name: name ?? "sender-\(names)", handle: 0, role: .sender)
        attach.senderSettleMode = settled ? .settled : .unsettled
        attach.receiverSettleMode = .first
        attach.source = Source(address: "here")
        attach.target = Target(address: address)
        attach.properties = properties
        return try await self.attach(attach, on: session, credit: 0)
    }

    func receiver(
        _ address: String,
        credit: UInt32 = 100,
        name: String? = nil,
        on session: Session? = nil,
        second: Bool = false,
        properties: AMQPMap? = nil
    ) async throws -> Link {
        names += 1
        var attach = Attach(name: name ?? "receiver-\(names)", handle: 0, role: .receiver)
        attach.senderSettleMode = .unsettled
        attach.receiverSettleMode = second ? .second : .first
        attach.source = Source(address: address)
        attach.target = Target(address: "here")
        attach.properties = properties
        let link = try await self.attach(attach, on: session, credit: credit)
        try await settle()
        return link
    }

    /// Why a link is gone; nil while it is not.
    func error(of link: Link) -> AMQPError? {
        for case .detached(let other, let error?) in events where other === link { return error }
        return nil
    }

    func isGone(_ link: Link) -> Bool {
        events.contains { if case .detached(let other, _) = $0 { other === link } else { false } }
    }

    /// Waits for the hub to detach a link, and tells why.
    func endOf(_ link: Link) async throws -> AMQPCondition? {
        try await wait { isGone(link) || !isOpen }
        try await settle()
        return error(of: link)?.condition
    }

    func deliveries(_ link: Link) -> [IncomingDelivery] {
        events.compactMap { event in
            if case .delivery(let other, let delivery) = event, other === link { delivery } else { nil }
        }
    }

    func messages(_ link: Link) throws -> [Message] { try deliveries(link).map { try Message(payload: $0.payload) } }

    // MARK: Messages

    /// Sends a message and returns what the hub says of it; nil for a settled one.
    @discardableResult
    func send(_ message: Message, on link: Link, settled: Bool = false) async throws -> DeliveryState? {
        try await send(message.encoded, on: link, settled: settled)
    }

    @discardableResult
    func send(
        _ payload: ByteBuffer,
        on link: Link,
        format: UInt32 = 0,
        settled: Bool = false
    ) async throws -> DeliveryState? {
        let id = queue(payload, on: link, format: format, settled: settled)
        try await settle()
        guard !settled else { return nil }
        try await wait { state(of: id, on: link) != nil || isGone(link) || !isOpen }
        return state(of: id, on: link)
    }

    /// Writes a message, to be sent with what follows.
    func queue(_ payload: ByteBuffer, on link: Link, format: UInt32 = 0, settled: Bool = false) -> UInt32 {
        engine.send(on: link, settled: settled, messageFormat: format) { $0.writeImmutableBuffer(payload) }
    }

    func state(of deliveryID: UInt32, on link: Link) -> DeliveryState? {
        for case .disposition(let other, deliveryID, let state?, settled: true) in events where other === link {
            return state
        }
        return nil
    }

    /// Data in a message of its own.
    static func telemetry(_ body: String) -> Message {
        var message = Message()
        message.body = .data(ByteBuffer(string: body))
        return message
    }

    // MARK: Tokens

    /// Puts a token and returns the status of the answer.
    func putToken(_ token: String, name: String? = nil) async throws -> Int64? {
        if claims == nil {
            let receiver = try await receiver("$cbs")
            claims = (try await sender("$cbs"), receiver)
        }
        let (sender, receiver) = try #require(claims)
        let before = deliveries(receiver).count
        try await send(FrontClient.putToken(token, name: name ?? "\(DeviceHub.host)/devices/x"), on: sender)
        try await wait { deliveries(receiver).count > before || !isOpen }
        return try messages(receiver).dropFirst(before).first?.applicationProperties?["status-code"]?.integer
    }

    /// Puts the token of an identity.
    func signIn(_ id: IdentityID, expiresIn seconds: Int64 = 3600) async throws {
        try #require(try await putToken(hub.token(of: id, expiresIn: seconds)) == 200)
    }

    /// A client that has put the token of one identity.
    static func signedIn(_ hub: DeviceHub, _ id: IdentityID = .d1) async throws -> DeviceClient {
        let client = try await DeviceClient(hub)
        try await client.signIn(id)
        return client
    }

    /// Moves the time of the connection, as far as its own checks go.
    func advance(seconds: Int64) async throws {
        hub.advanceClock(seconds: seconds)
        await channel.testingEventLoop.advanceTime(by: .seconds(15))
        try await settle()
    }
}

extension IdentityID {
    static let d1 = IdentityID(device: "d1")
    static let d2 = IdentityID(device: "d2")
    static let m1 = IdentityID(device: "d1", module: "m1")
}
