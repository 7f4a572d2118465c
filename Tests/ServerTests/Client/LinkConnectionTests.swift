// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import AMQP
import NIOCore
import NIOEmbedded
import Synchronization
import Testing

@testable import HubClient

@Suite struct LinkConnectionTests {
    @Test func `every token is renewed before it ends, as long as the connection lasts`() throws {
        let pair = try ConnectedPair(devices: ["a", "b"], tokenSeconds: 1000)
        let both = ["hub.example.com/devices/a", "hub.example.com/devices/b"]
        #expect(pair.isAttached && pair.received.audiences == both)
        try pair.timePasses(seconds: 740)
        #expect(pair.received.audiences == both)
        try pair.timePasses(seconds: 20)
        #expect(pair.received.audiences == both + both)
        try pair.timePasses(seconds: 750)
        #expect(pair.received.audiences == both + both + both)
        pair.close()
    }

    @Test func `a connection that has ended renews nothing and tells why it ended`() throws {
        let pair = try ConnectedPair(devices: ["a"], tokenSeconds: 1000)
        pair.close()
        try pair.timePasses(seconds: 2000)
        #expect(pair.received.audiences.count == 1)
        #expect(pair.failure == .closed(during: "the test"))
    }

    @Test func `without links to attach a connection is ready once it is signed in`() throws {
        let pair = try ConnectedPair(devices: [], tokenSeconds: 1000)
        #expect(pair.isAttached)
        pair.close()
    }

    @Test func `a hub that answers no token in time is told as such`() throws {
        let pair = try ConnectedPair(devices: ["a"], tokenSeconds: 1000, isSilent: true)
        #expect(!pair.isAttached && pair.failure == nil)
        try pair.timePasses(seconds: 61)
        #expect(pair.failure == .timedOut(waitingFor: "the links to be attached"))
    }
}

/// A connection and the hub's end of it, both on one loop whose time the test lets pass.
private final class ConnectedPair {
    private final class Devices: LinkUser {
        var failure: HubClientError?

        func ended(_ error: HubClientError) {
            self.failure = error
        }
    }

    private let loop = EmbeddedEventLoop()
    private let log = EventHubPeer.Log()
    private let client: EmbeddedChannel
    private let hub: EmbeddedChannel
    private let user = Devices()
    private let attached: EventLoopFuture<Void>
    private let isSilent: Bool

    init(devices: [String], tokenSeconds: Int64, isSilent: Bool = false) throws {
        self.isSilent = isSilent
        var plan = try LinkPlan(
            address: HubAddress(hostName: "hub.example.com"),
            purpose: "the test",
            claims: devices.map { .init(audience: "hub.example.com/devices/\($0)", key: "AAAA") },
            links: devices.map { .init(node: "/devices/\($0)/messages/events", role: .sender) }
        )
        plan.tokenSeconds = tokenSeconds
        let attached = self.loop.makePromise(of: Void.self)
        let ended = self.loop.makePromise(of: Void.self)
        self.attached = attached.futureResult
        self.client = EmbeddedChannel(
            handler: LinkConnection(plan: plan, user: self.user, attached: attached, ended: ended),
            loop: self.loop
        )
        self.hub = EmbeddedChannel(handler: EventHubPeer.Handler(.init(), self.log), loop: self.loop)
        try self.client.connect(to: SocketAddress(ipAddress: "127.0.0.1", port: 5672)).wait()
        try self.exchange()
    }

    var received: EventHubPeer.Received { self.log.state.withLock { $0 } }
    var failure: HubClientError? { self.user.failure }

    var isAttached: Bool {
        var isAttached = false
        self.attached.assumeIsolated().whenSuccess { isAttached = true }
        return isAttached
    }

    /// Lets time pass a second at a time, so that heartbeats and answers are where they belong.
    func timePasses(seconds: Int) throws {
        for _ in 0..<seconds {
            self.loop.advanceTime(by: .seconds(1))
            try self.exchange()
        }
    }

    func close() {
        self.client.close(promise: nil)
        self.loop.run()
    }

    private func exchange() throws {
        var isMoving = true
        while isMoving, self.client.isActive {
            isMoving = false
            while let bytes = try self.client.readOutbound(as: ByteBuffer.self) {
                if !self.isSilent { try self.hub.writeInbound(bytes) }
                isMoving = true
            }
            while let bytes = try self.hub.readOutbound(as: ByteBuffer.self) {
                try self.client.writeInbound(bytes)
                isMoving = true
            }
        }
    }
}
