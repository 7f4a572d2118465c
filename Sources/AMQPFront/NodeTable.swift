// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import AMQP
import Hub
import HubModel

/// Why a link is refused.
struct LinkRefusal: Error {
    var error: AMQPError
    /// What the refusing attach says as max-message-size; nil for that of any link.
    var maxMessageSize: UInt64?

    init(_ error: AMQPError) { self.error = error }
}

// Which node serves which address (docs/wire/amqp.md#addresses): one line for each kind.
extension AMQPConnection {
    /// Makes the node for a link of the peer; it is not opened yet.
    ///
    /// The peer's source is the address where we send, its target where we receive; the other one is a free label.
    func makeNode(for link: Link) throws(LinkRefusal) -> any LinkNode {
        let isToUs = link.role == .receiver
        let text = (isToUs ? link.remoteAttach.target?.address : link.remoteAttach.source?.address) ?? ""
        switch NodeAddress(text) {
        case .claims: return ClaimsNode(link: link, connection: self)
        case .management(let entity): return try ManagementNode(link: link, connection: self, entity: entity)
        case .partition(let entity, let group, let partition) where !isToUs:
            return try PartitionNode(link: link, connection: self, entity: entity, group: group, partition: partition)
        case .entity, .partition:
            throw LinkRefusal(isToUs ? .sendClaimMissing : unknown(text))
        case .hubEvents:
            let mayRead = access.mayServe(["messages", "events"]) || access.mayRead([hub.names.shortName])
            throw mayRead ? .redirect(text, names: hub.names) : LinkRefusal(.listenClaimMissing)
        case .commands: return try CommandSenderNode(link: link, connection: self)
        case .feedback: return try FeedbackNode(link: link, connection: self)
        case .fileNotifications: return try FileNotificationNode(link: link, connection: self)
        case .identity(let address): return try makeNode(for: link, address, isToUs: isToUs)
        case .unknown: throw LinkRefusal(unknown(text))
        }
    }

    /// Makes the node of a device's or a module's link.
    private func makeNode(
        for link: Link,
        _ address: IdentityAddress,
        isToUs: Bool
    ) throws(LinkRefusal) -> IdentityNode {
        let isModule = address.candidates.allSatisfy { $0.module != nil }
        switch (address.purpose, isToUs) {
        case (.events, true): return TelemetryNode(link: link, connection: self, address: address)
        case (.events, false) where isModule, (.commands, false) where isModule:
            return InputNode(link: link, connection: self, address: address)
        case (.methods, false): return MethodCallNode(link: link, connection: self, address: address)
        case (.methods, true): return MethodAnswerNode(link: link, connection: self, address: address)
        case (.twin, false): return TwinAnswerNode(link: link, connection: self, address: address)
        case (.twin, true): return TwinRequestNode(link: link, connection: self, address: address)
        case (.commands, false): return CommandNode(link: link, connection: self, address: address)
        case (.events, false), (.commands, true): throw LinkRefusal(.wrongDirection)
        }
    }

    func unknown(_ address: String) -> AMQPError {
        .entityNotFound(host: hub.names.hostName, path: NodeAddress.path(of: address))
    }
}
