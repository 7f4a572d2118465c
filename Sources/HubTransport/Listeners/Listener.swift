// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import Glibc
public import Logging
public import NIOCore
import NIOPosix
public import ServiceLifecycle
import Synchronization

/// One port: accepts connections, does TLS, and hands each one to a front.
///
/// `bind()` comes first, so that every port is known to be ours before anything is announced; `run()` then lasts until shutdown,
/// and quiesces: no new connections, `ChannelShouldQuiesceEvent` to those that are there, a bounded wait, then closing.
public final class Listener: Service {
    private let settings: ListenerSettings
    private let limits: TransportLimits
    private let gate: ConnectionGate
    private let group: any EventLoopGroup
    private let logger: Logger
    private let initializer: @Sendable (any Channel) -> EventLoopFuture<Void>
    private let connections: ConnectionTable
    private let bound = Mutex<(any Channel)?>(nil)

    /// A listener that does nothing yet.
    ///
    /// `initializer` puts the front's handlers into a new connection's pipeline, on its event loop. TLS is there already.
    public init(
        _ settings: ListenerSettings,
        limits: TransportLimits,
        gate: ConnectionGate,
        group: any EventLoopGroup,
        logger: Logger,
        initializer: @escaping @Sendable (any Channel) -> EventLoopFuture<Void>
    ) {
        self.settings = settings
        self.limits = limits
        self.gate = gate
        self.group = group
        self.logger = logger
        self.initializer = initializer
        connections = ConnectionTable(eventLoop: group.any())
    }

    /// The name of the settings.
    public var name: String { settings.name }

    /// The port that is listened to, nil before `bind()`.
    public var port: Int? { bound.withLock { $0?.localAddress?.port } }

    /// Connections that this listener let in and that are still open.
    public var connectionCount: Int { connections.count }

    /// Takes the port; where it is not permitted, the fallback.
    ///
    /// - Throws: `ListenError`, one line that says what to do.
    public func bind() async throws {
        let channel: any Channel
        do {
            channel = try await bind(port: settings.port)
        } catch {
            let problem = ListenError(settings, port: settings.port, error)
            guard problem.reason == .notPermitted, let fallback = settings.fallbackPort else { throw problem }
            do {
                channel = try await bind(port: fallback)
            } catch {
                throw ListenError(settings, port: fallback, error)
            }
            logger.warning("\(problem) Listening on \(fallback) instead.")
        }
        bound.withLock { $0 = channel }
    }

    /// Serves until shutdown, then quiesces.
    ///
    /// - Throws: when the listening socket closes by itself.
    public func run() async throws {
        if bound.withLock({ $0 == nil }) { try await bind() }
        guard let channel = bound.withLock({ $0 }) else { return }
        let closed = channel.closeFuture
        let unexpected = try await withThrowingTaskGroup(of: Bool.self) { tasks in
            tasks.addTask {
                do {
                    try await gracefulShutdown()
                } catch is CancellationError {
                    return false
                }
                return false
            }
            tasks.addTask {
                // The future knows no cancellation: it ends below at the latest, with the channel.
                try await closed.get()
                return true
            }
            let first = try await tasks.next() ?? false
            if !first { await stop() }
            tasks.cancelAll()
            return first
        }
        if unexpected { throw ListenerClosed(name: settings.name) }
    }

    /// Stops accepting, lets connections end in their own way, and closes those that don't in time.
    public func stop() async {
        guard let channel = bound.withLock({ $0 }) else { return }
        do {
            try await channel.close()
        } catch {
            logger.debug("listener was closed already", metadata: ["listener": "\(settings.name)"])
        }
        let left = await connections.quiesce(within: limits.drainTimeout)
        if left > 0 {
            logger.warning("connections closed before they were done", metadata: ["count": "\(left)"])
        }
    }

    private func bind(port: Int) async throws -> any Channel {
        // An address that serves IPv6 serves IPv4 too; a machine without IPv6 gets IPv4 alone.
        guard settings.address == "*" else {
            return try await bootstrap().bind(host: settings.address, port: port).get()
        }
        do {
            return try await bootstrap().bind(host: "::", port: port).get()
        } catch let error as IOError where error.isMissingFamily {
            return try await bootstrap().bind(host: "0.0.0.0", port: port).get()
        }
    }

    private func bootstrap() -> ServerBootstrap {
        ServerBootstrap(group: group)
            .serverChannelOption(.backlog, value: limits.backlog)
            .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
            .childChannelOption(.tcpOption(.tcp_nodelay), value: 1)
            .childChannelOption(.socketOption(.so_keepalive), value: 1)
            .childChannelOption(
                .recvAllocator,
                value: AdaptiveRecvByteBufferAllocator(
                    minimum: min(512, limits.receiveBufferBytesInitial),
                    initial: limits.receiveBufferBytesInitial,
                    maximum: limits.receiveBufferBytesMax
                )
            )
            .childChannelInitializer { [self] channel in accept(channel) }
    }

    private func accept(_ channel: any Channel) -> EventLoopFuture<Void> {
        let source = Source(channel.remoteAddress)
        switch gate.admit(source, now: .now()) {
        case .drop(let refusal):
            logger.debug("connection refused", metadata: ["listener": "\(name)", "reason": "\(refusal)"])
            return channel.close()
        case .explain(let refusal):
            logger.debug("connection refused", metadata: ["listener": "\(name)", "reason": "\(refusal)"])
            channel.closeFuture.whenComplete { [gate] _ in gate.refusalEnded() }
            return channel.eventLoop.makeCompletedFuture {
                try addTLS(channel)
                let answer = RefusalHandler(answer: settings.refusal, timeout: limits.handshakeTimeout)
                try channel.pipeline.syncOperations.addHandler(answer)
            }
        case .admitted:
            channel.closeFuture.whenComplete { [gate] _ in gate.closed() }
            connections.add(channel)
            do {
                try addTLS(channel)
                let admission = AdmissionHandler(
                    gate: gate,
                    source: source,
                    handshakeTimeout: settings.identity == nil ? nil : limits.handshakeTimeout,
                    waitsForAuthentication: settings.announcesAuthentication
                )
                if settings.identity == nil && !settings.announcesAuthentication {
                    gate.authenticated(source)
                } else {
                    try channel.pipeline.syncOperations.addHandler(admission)
                }
            } catch {
                gate.authenticated(source)
                return channel.eventLoop.makeFailedFuture(error)
            }
            return initializer(channel)
        }
    }

    private func addTLS(_ channel: any Channel) throws {
        guard let identity = settings.identity else { return }
        let handler = identity.makeHandler(requestsClientCertificate: settings.requestsClientCertificate)
        try channel.pipeline.syncOperations.addHandler(handler)
    }
}

/// The listening socket closed without being told to.
public struct ListenerClosed: Error, CustomStringConvertible {
    /// The listener.
    public let name: String

    /// One line for people.
    public var description: String { "\(name): the listening socket has closed" }
}

extension IOError {
    /// The machine has no addresses of this family.
    fileprivate var isMissingFamily: Bool { errnoCode == EAFNOSUPPORT || errnoCode == EADDRNOTAVAIL }
}
