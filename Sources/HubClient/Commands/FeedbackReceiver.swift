// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import AMQP
import FoundationEssentials
import NIOCore
import NIOPosix

/// What became of a command.
public struct CommandFeedback: Codable, Hashable, Sendable {
    /// The message id of the command.
    public var originalMessageId: String?
    /// The device.
    public var deviceId: String
    /// Tells the device from an earlier one with the same id.
    public var deviceGenerationId: String?
    /// `Success`, `Expired`, `DeliveryCountExceeded`, `Rejected` or `Purged`.
    public var statusCode: String
    /// The same in other words.
    public var description: String?
    /// When that happened, as ISO 8601.
    public var enqueuedTimeUtc: String
}

/// A service that is told what became of commands, over AMQP.
public final class FeedbackReceiver: Sendable {
    private static let node = "/messages/serviceBound/feedback"

    private let links: AttachedLinks

    private init(links: AttachedLinks) {
        self.links = links
    }

    /// Connects, signs in and attaches.
    ///
    /// - Parameters:
    ///   - address: where the hub is.
    ///   - policy: the name of a shared access policy with the right ServiceConnect.
    ///   - key: the policy's key as base64 text.
    ///   - received: called with each batch, which is accepted when this returns; on the connection's thread.
    /// - Returns: once the link is attached.
    /// - Throws: ``HubClientError``.
    public static func open(
        address: HubAddress,
        policy: String,
        key: String,
        received: @escaping @Sendable ([CommandFeedback]) -> Void
    ) async throws -> FeedbackReceiver {
        let plan = try LinkPlan(
            address: address,
            purpose: "the reading of feedback",
            policy: policy,
            key: key,
            links: [.init(node: Self.node, role: .receiver, credit: 16)]
        )
        let connector = try ClientChannel(address: address, connectTimeout: plan.connect)
        let loop = MultiThreadedEventLoopGroup.singleton.next()
        let links = try await connector.open(plan, on: loop) { FeedbackLink(received: received) }.get()
        return FeedbackReceiver(links: links)
    }

    /// Calls `body` when the connection has ended, with the reason; on the connection's thread.
    public func whenEnded(_ body: @escaping @Sendable (HubClientError) -> Void) {
        self.links.whenEnded(body)
    }

    /// Closes the connection.
    public func close() async {
        await self.links.close()
    }
}

/// The receiving link; on the connection's loop.
private final class FeedbackLink: LinkUser {
    private let handOver: @Sendable ([CommandFeedback]) -> Void

    init(received: @escaping @Sendable ([CommandFeedback]) -> Void) {
        self.handOver = received
    }

    func received(_ delivery: IncomingDelivery, on link: Link, _ connection: LinkConnection) {
        guard let message = try? Message(payload: delivery.payload), case .data(let body) = message.body,
            let records = try? JSONDecoder().decode([CommandFeedback].self, from: Data(body.readableBytesView))
        else {
            // It would come again and again: what cannot be read is said to be so.
            connection.settle(delivery, .rejected(nil))
            return
        }
        self.handOver(records)
        connection.settle(delivery, .accepted)
    }
}
