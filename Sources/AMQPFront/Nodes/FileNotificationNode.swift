// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import AMQP

/// `messages/servicebound/filenotifications`: would tell a service what devices have uploaded; there is nothing to tell yet.
final class FileNotificationNode: LinkNode {
    static let path = ["messages", "servicebound", "filenotifications"]
    /// What the attach says as max-message-size.
    private static let messageBytesMax: UInt64 = 262_144

    let link: Link
    unowned let connection: AMQPConnection

    init(link: Link, connection: AMQPConnection) throws(LinkRefusal) {
        self.link = link
        self.connection = connection
        guard link.role == .sender else { throw LinkRefusal(.wrongRole("Services receive notifications here.")) }
        guard connection.access.mayServe(Self.path) else { throw LinkRefusal(.serviceClaimMissing) }
    }

    var isAllowed: Bool { connection.access.mayServe(Self.path) }

    func open() -> AMQPError? {
        var reply = engine.reply(to: link)
        reply.maxMessageSize = Self.messageBytesMax
        engine.accept(link, with: reply)
        return nil
    }

    func pump() { engine.drained(link) }
}

@available(*, unavailable)
extension FileNotificationNode: Sendable {}
