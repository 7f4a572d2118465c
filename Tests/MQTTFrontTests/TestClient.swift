// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import HubModel
import MQTT
import NIOCore
import NIOEmbedded
import Testing

@testable import MQTTFront

/// A client that speaks packets to one handler, on a loop whose time the test drives.
final class TestClient: Sendable {
    let channel: NIOAsyncTestingChannel
    private let handler: NIOLoopBound<MQTTHandler>
    private static let limits = MQTTLimits()

    private init(channel: NIOAsyncTestingChannel, handler: NIOLoopBound<MQTTHandler>) {
        self.channel = channel
        self.handler = handler
    }

    /// Connects to a hub; nothing is sent yet.
    static func open(_ hub: TestHub) async throws -> TestClient {
        let channel = NIOAsyncTestingChannel()
        let handler = try await channel.testingEventLoop.executeInContext {
            let handler = MQTTHandler(front: hub.front)
            try channel.pipeline.syncOperations.addHandler(handler)
            return NIOLoopBound(handler, eventLoop: channel.eventLoop)
        }
        try await channel.connect(to: SocketAddress(ipAddress: "127.0.0.1", port: 1883)).get()
        return TestClient(channel: channel, handler: handler)
    }

    /// Connects and signs in.
    static func signedIn(
        _ hub: TestHub,
        as clientID: String = "d1",
        clean: Bool = false,
        keepAliveSeconds: UInt16 = 0,
        will: Connect.Will? = nil,
        tail: String = "/?api-version=2021-04-12",
        token: String? = nil
    ) async throws -> TestClient {
        let client = try await open(hub)
        var connect = Self.connect(clientID, tail: tail, token: token)
        connect.cleanSession = clean
        connect.keepAliveSeconds = keepAliveSeconds
        connect.will = will
        try await client.send(.connect(connect))
        try #require(
            try await client.receive() == .connack(Connack(sessionPresent: !clean, returnCode: .accepted))
        )
        return client
    }

    /// What a device or module of the hub sends to sign in.
    static func connect(
        _ clientID: String,
        tail: String = "/?api-version=2021-04-12",
        token: String? = nil
    ) -> Connect {
        let path = clientID.replacing("/", with: "/modules/")
        let token = token ?? TestHub.token("\(TestHub.host)%2Fdevices%2F\(path.replacing("/", with: "%2F"))")
        return Connect(
            clientID: clientID,
            cleanSession: false,
            username: "\(TestHub.host)/\(clientID)\(tail)",
            password: ByteBuffer(string: token)
        )
    }

    /// Sends packets in one read of the server.
    func send(_ packets: Packet...) async throws {
        var buffer = ByteBuffer()
        for packet in packets { try packet.encode(into: &buffer) }
        try await send(buffer)
    }

    /// Sends bytes in one read of the server.
    func send(_ bytes: ByteBuffer) async throws {
        try await channel.writeInbound(bytes)
        await channel.testingEventLoop.run()
    }

    /// Sends telemetry at QoS 1.
    func publish(_ body: String = "x", id: UInt16 = 1, topic: String = "devices/d1/messages/events/") async throws {
        try await send(.telemetry(body, id: id, topic: topic))
    }

    /// What the server did not do in ten seconds.
    struct TimedOut: Error {}

    /// The next write of the server, waited for.
    func nextWrite() async throws -> ByteBuffer {
        let deadline = ContinuousClock.now + .seconds(10)
        while ContinuousClock.now < deadline {
            await channel.testingEventLoop.run()
            // Asked first: the last words are written just before the close.
            let wasActive = channel.isActive
            if let bytes = try await channel.readOutbound(as: ByteBuffer.self) { return bytes }
            try #require(wasActive, "closed without an answer")
            await Task.yield()
        }
        throw TimedOut()
    }

    /// The next packet of the server, waited for.
    func receive() async throws -> Packet {
        while true {
            if let packet = try await nextDecoded() { return packet }
            await pushBack(try await nextWrite())
        }
    }

    /// The next packet, which must be a PUBLISH.
    func receivePublish() async throws -> Publish {
        let packet = try await receive()
        guard case .publish(let publish) = packet else { throw Unexpected(packet: packet) }
        return publish
    }

    /// Another packet than the one that had to come.
    struct Unexpected: Error {
        var packet: Packet
    }

    /// The bytes that the server has sent so far and that were not received.
    func receivedBytes() async throws -> [UInt8] {
        await channel.testingEventLoop.run()
        while let bytes = try await channel.readOutbound(as: ByteBuffer.self) { await pushBack(bytes) }
        return await unread.take()
    }

    /// Waits for the server to close.
    func expectClosed() async throws {
        let deadline = ContinuousClock.now + .seconds(10)
        while await isOpen() {
            guard ContinuousClock.now < deadline else { throw TimedOut() }
            await Task.yield()
        }
        await channel.testingEventLoop.run()
    }

    /// Whether the connection is open after all that was to happen now has happened.
    func isOpen() async -> Bool {
        await channel.testingEventLoop.run()
        return channel.isActive
    }

    /// Cuts the connection as a network does.
    func cut() async throws {
        try await channel.close().get()
        await channel.testingEventLoop.run()
    }

    func advance(seconds: Int64) async {
        await channel.testingEventLoop.advanceTime(by: .seconds(seconds))
    }

    /// Looks into the server's side of the connection, on its loop.
    func inspect<Value: Sendable>(_ body: @escaping @Sendable (MQTTHandler) -> Value) async throws -> Value {
        let handler = self.handler
        return try await channel.testingEventLoop.executeInContext { body(handler.value) }
    }

    private actor Unread {
        private var buffer = ByteBuffer()

        func append(_ bytes: ByteBuffer) { buffer.writeImmutableBuffer(bytes) }

        func next() throws -> Packet? { try Packet.decode(from: &buffer, limits: TestClient.limits) }

        func take() -> [UInt8] {
            defer { buffer.clear() }
            return Array(buffer.readableBytesView)
        }
    }

    private let unread = Unread()

    private func nextDecoded() async throws -> Packet? { try await unread.next() }
    private func pushBack(_ bytes: ByteBuffer) async { await unread.append(bytes) }
}

extension Packet {
    /// A PUBLISH at QoS 1, or at QoS 0 for packet id 0.
    static func telemetry(
        _ body: String = "x",
        id: UInt16 = 1,
        topic: String = "devices/d1/messages/events/",
        retain: Bool = false,
        duplicate: Bool = false
    ) -> Packet {
        .publish(
            Publish(
                topic: ByteBuffer(string: topic),
                payload: ByteBuffer(string: body),
                qos: id == 0 ? .atMostOnce : .atLeastOnce,
                packetID: id,
                retain: retain,
                duplicate: duplicate
            )
        )
    }

    static func puback(_ id: UInt16) -> Packet { .puback(Puback(packetID: id)) }

    static func subscribe(_ id: UInt16, _ filters: String..., qos: QoS = .atLeastOnce) -> Packet {
        .subscribe(Subscribe(packetID: id, requests: filters.map { .init(filter: $0, qos: qos) }))
    }

    static func refused(_ code: Connack.ReturnCode) -> Packet {
        .connack(Connack(sessionPresent: false, returnCode: code))
    }
}
