// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import AMQP
import NIOCore
import NIOPosix

/// A service that sends commands over AMQP.
public final class CommandSender: Sendable {
    /// The node that takes commands for all devices.
    static let node = "/messages/devicebound"

    private let channel: any Channel
    private let link: NIOLoopBound<CommandLink>

    private init(channel: any Channel, link: NIOLoopBound<CommandLink>) {
        self.channel = channel
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
        let plan = try LinkPlan(
            address: address,
            policy: policy,
            key: key,
            links: [.init(node: Self.node, role: .sender)]
        )
        let connector = try ClientChannel(address: address, connectTimeout: plan.connect)
        let loop = MultiThreadedEventLoopGroup.singleton.next()
        let attached = loop.makePromise(of: Void.self)
        let link = try await loop.submit { NIOLoopBound(CommandLink(attached: attached), eventLoop: loop) }.get()
        do {
            let channel = try await connector.connect(plan, on: loop) { link.value }.get()
            try await attached.futureResult.get()
            return CommandSender(channel: channel, link: link)
        } catch {
            attached.fail(error)
            throw error
        }
    }

    /// Sends one command.
    ///
    /// - Parameter command: the command.
    /// - Throws: ``HubClientError`` with the hub's reason, such as a full queue, when the hub does not take it.
    public func send(_ command: OutgoingCommand) async throws {
        let payload = command.message.encoded
        let accepted = self.channel.eventLoop.makePromise(of: Void.self)
        let link = self.link
        self.channel.eventLoop.execute {
            link.value.send(.init(payload: payload, accepted: accepted))
        }
        try await accepted.futureResult.get()
    }

    /// Closes the connection.
    public func close() async {
        // A connection that the hub has closed already is closed.
        do { try await self.channel.close() } catch {}
    }
}
