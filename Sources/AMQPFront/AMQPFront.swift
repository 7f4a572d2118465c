// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import AMQP
public import Hub
import HubModel
public import NIOCore
import Synchronization

/// AMQP for one hub: makes the handlers of connections, and tells them what concerns them all.
public final class AMQPFront: Sendable {
    /// What stands behind the connections.
    public let hub: Hub
    /// Their bounds.
    public let limits: AMQPFrontLimits

    let containerID: String
    let peerCertificates: @Sendable (any Channel) -> [[UInt8]]
    private let connections = Mutex<[ObjectIdentifier: Entry]>([:])

    private struct Entry: Sendable {
        let eventLoop: any EventLoop
        let handler: NIOLoopBound<AMQPHandler>
    }

    /// A front of `hub`.
    ///
    /// - Parameters:
    ///   - hub: What stands behind it.
    ///   - limits: The bounds of its connections.
    ///   - containerID: What the hub calls itself when a connection is opened.
    ///   - peerCertificates: Finds what a channel's client presented in its TLS handshake, in DER form, its own first;
    ///     called once a connection, where it offers nothing else.
    public init(
        hub: Hub,
        limits: AMQPFrontLimits = AMQPFrontLimits(),
        containerID: String = "roost",
        peerCertificates: @escaping @Sendable (any Channel) -> [[UInt8]] = { _ in [] }
    ) {
        self.peerCertificates = peerCertificates
        self.hub = hub
        self.limits = limits
        self.containerID = containerID
        // The front lives as long as the program; the bus has no way to stop listening.
        hub.stores.bus.listen { [weak self] signal in
            guard signal == .policiesChanged else { return }
            self?.recheckAccess()
        }
    }

    /// Puts the front's one handler at the end of a new channel's pipeline; called on the channel's loop.
    public func configure(_ channel: any Channel) -> EventLoopFuture<Void> {
        channel.eventLoop.makeCompletedFuture {
            try channel.pipeline.syncOperations.addHandler(self.makeHandler())
        }
    }

    /// The handler of one connection; it takes and gives bytes.
    public func makeHandler() -> AMQPHandler { AMQPHandler(front: self) }

    func opened(_ handler: AMQPHandler, eventLoop: any EventLoop) {
        let entry = Entry(eventLoop: eventLoop, handler: NIOLoopBound(handler, eventLoop: eventLoop))
        connections.withLock { $0[ObjectIdentifier(handler)] = entry }
        hub.metrics.amqp.accepted.add()
        hub.metrics.amqp.open.add(1)
    }

    func closed(_ handler: AMQPHandler) {
        let entry = connections.withLock { $0.removeValue(forKey: ObjectIdentifier(handler)) }
        if entry != nil { hub.metrics.amqp.open.add(-1) }
    }

    /// Lets every connection look again at what it rests on.
    private func recheckAccess() {
        for entry in connections.withLock({ Array($0.values) }) {
            entry.eventLoop.execute { entry.handler.value.recheckAccess() }
        }
    }
}
