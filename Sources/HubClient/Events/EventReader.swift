// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import NIOCore
import NIOPosix

/// A reader of the built-in endpoint over AMQP: receives on every partition that its plan names.
public final class EventReader: Sendable {
    private let channel: any Channel
    private let group: MultiThreadedEventLoopGroup
    private let ended: EventLoopFuture<Void>
    /// The partitions that are read.
    public let partitions: [String]

    private init(
        channel: any Channel,
        group: MultiThreadedEventLoopGroup,
        ended: EventLoopFuture<Void>,
        partitions: [String]
    ) {
        self.channel = channel
        self.group = group
        self.ended = ended
        self.partitions = partitions
    }

    /// Connects, signs in and attaches to the partitions.
    ///
    /// - Parameters:
    ///   - plan: what is read.
    ///   - received: called for each event on the reader's own thread; while it runs nothing more is read, so a slow
    ///     one slows the hub's sending and loses nothing.
    /// - Returns: once every receiver is attached: an event enqueued after that is not missed.
    /// - Throws: ``HubClientError``.
    public static func open(
        _ plan: EventReaderPlan,
        received: @escaping @Sendable (ArrivedEvent) -> Void
    ) async throws -> EventReader {
        let token = try plan.token()
        let connector = try ClientChannel(address: plan.address, connectTimeout: plan.connect)
        let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
        let loop = group.next()
        let attached = loop.makePromise(of: [String].self)
        let ended = loop.makePromise(of: Void.self)
        do {
            let channel: any Channel
            do {
                channel = try await connector.connect(on: loop, port: plan.address.amqpPort) { _ in
                    EventReaderConnection(
                        plan: plan,
                        firstToken: token,
                        attached: attached,
                        ended: ended,
                        received: received
                    )
                }.get()
            } catch {
                let failure = HubClientError.connecting(
                    error,
                    host: plan.address.dialHost,
                    port: plan.address.amqpPort
                )
                attached.fail(failure)
                ended.fail(failure)
                throw failure
            }
            let partitions = try await attached.futureResult.get()
            return EventReader(channel: channel, group: group, ended: ended.futureResult, partitions: partitions)
        } catch {
            try await group.shutdownGracefully()
            throw error
        }
    }

    /// Calls `body` when the connection has ended, with the reason; on the reader's own thread.
    public func whenEnded(_ body: @escaping @Sendable (HubClientError) -> Void) {
        self.ended.whenFailure { error in
            body(error as? HubClientError ?? .closed(during: "the reading of events"))
        }
    }

    /// Closes the connection and ends the reader's thread.
    public func close() async throws {
        // A connection that the hub has closed already is closed.
        do { try await self.channel.close() } catch {}
        try await self.group.shutdownGracefully()
    }
}
