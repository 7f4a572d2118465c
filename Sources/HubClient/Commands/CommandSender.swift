// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import AMQP
import NIOCore
import NIOPosix

/// A service that sends commands over AMQP.
public final class CommandSender: Sendable {
    private let links: AttachedLinks
    private let link: NIOLoopBound<CommandLink>

    private init(links: AttachedLinks, link: NIOLoopBound<CommandLink>) {
        self.links = links
        self.link = link
    }

    /// Connects, signs in and attaches.
    ///
    /// - Parameters:
    ///   - address: where the hub is.
    ///   - policy: the name of a shared access policy with the right ServiceConnect.
    ///   - key: the policy's key as base64 text.
    /// - Returns: a sender that may send at once.
    /// - Throws: ``HubClientError``.
    public static func open(address: HubAddress, policy: String, key: String) async throws -> CommandSender {
        let plan = try CommandLink.plan(address: address, policy: policy, key: key)
        let connector = try ClientChannel(address: address, connectTimeout: plan.connect)
        let loop = MultiThreadedEventLoopGroup.singleton.next()
        let link = try await loop.submit { NIOLoopBound(CommandLink(), eventLoop: loop) }.get()
        let links = try await connector.open(plan, on: loop) { link.value }.get()
        return CommandSender(links: links, link: link)
    }

    /// Sends one command.
    ///
    /// - Parameter command: the command.
    /// - Throws: ``HubClientError`` with the hub's reason, such as a full queue, when the hub does not take it.
    public func send(_ command: OutgoingCommand) async throws {
        let payload = command.message.encoded
        let accepted = self.links.channel.eventLoop.makePromise(of: Void.self)
        let link = self.link
        self.links.channel.eventLoop.execute {
            link.value.send(.init(payload: payload, accepted: accepted))
        }
        try await accepted.futureResult.get()
    }

    /// Closes the connection.
    public func close() async {
        await self.links.close()
    }
}
