// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import NIOCore
import NIOPosix

/// A reader of the built-in endpoint over AMQP: receives on every partition that its plan names.
public final class EventReader: Sendable {
    private let links: AttachedLinks
    private let group: MultiThreadedEventLoopGroup
    /// The partitions that are read.
    public let partitions: [String]

    private init(links: AttachedLinks, group: MultiThreadedEventLoopGroup, partitions: [String]) {
        self.links = links
        self.group = group
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
        let linkPlan = try plan.linkPlan()
        let connector = try ClientChannel(address: plan.address, connectTimeout: plan.connect)
        let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
        let loop = group.next()
        do {
            let receivers = try await loop.submit {
                NIOLoopBound(EventReceivers(plan: plan, received: received), eventLoop: loop)
            }.get()
            let links = try await connector.open(linkPlan, on: loop) { receivers.value }.get()
            let partitions = try await loop.submit { receivers.value.partitions }.get()
            return EventReader(links: links, group: group, partitions: partitions)
        } catch {
            try await group.shutdownGracefully()
            throw error
        }
    }

    /// Calls `body` when the connection has ended, with the reason; on the reader's own thread.
    public func whenEnded(_ body: @escaping @Sendable (HubClientError) -> Void) {
        self.links.whenEnded(body)
    }

    /// Closes the connection and ends the reader's thread.
    public func close() async throws {
        await self.links.close()
        try await self.group.shutdownGracefully()
    }
}
