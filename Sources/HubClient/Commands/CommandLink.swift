// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import AMQP
import NIOCore

/// The sending of commands on one link: keeps them in order and tells each its fate; on the connection's loop.
final class CommandLink: LinkUser {
    /// A command and who is told: succeeds once the hub has it durably.
    struct Outgoing {
        let payload: ByteBuffer
        let accepted: EventLoopPromise<Void>
    }

    /// A plan for one such link.
    ///
    /// - Throws: ``HubClientError/badKey``.
    static func plan(address: HubAddress, policy: String, key: String) throws(HubClientError) -> LinkPlan {
        try LinkPlan(
            address: address,
            purpose: "the sending of commands",
            policy: policy,
            key: key,
            links: [.init(node: "/messages/devicebound", role: .sender)]
        )
    }

    private var waiting = CircularBuffer<Outgoing>()
    private var unsettled: [UInt32: EventLoopPromise<Void>] = [:]
    private var connection: LinkConnection?
    private var failure: HubClientError?

    /// Sends a command now or when there is credit; calls ``LinkConnection/flush()`` itself.
    func send(_ outgoing: Outgoing) {
        if let failure {
            outgoing.accepted.fail(failure)
            return
        }
        self.waiting.append(outgoing)
        guard let connection else { return }
        self.maySend(connection)
        connection.flush()
    }

    func attached(_ connection: LinkConnection) {
        self.connection = connection
    }

    func maySend(_ connection: LinkConnection) {
        guard let link = connection.links.first else { return }
        while connection.engine.canSend(on: link), let next = self.waiting.popFirst() {
            let id = connection.engine.send(on: link, settled: false) { $0.writeImmutableBuffer(next.payload) }
            self.unsettled[id] = next.accepted
        }
    }

    func settled(_ id: UInt32, _ state: DeliveryState?, on link: Link) {
        guard let accepted = self.unsettled.removeValue(forKey: id) else { return }
        switch state {
        case .accepted: accepted.succeed()
        case .rejected(let error?):
            accepted.fail(
                HubClientError.amqpRefused(
                    condition: error.condition.rawValue,
                    description: error.description ?? ""
                )
            )
        default:
            accepted.fail(HubClientError.amqpRefused(condition: "the command was not accepted", description: ""))
        }
    }

    func ended(_ error: HubClientError) {
        self.failure = error
        self.connection = nil
        for accepted in self.unsettled.values {
            accepted.fail(error)
        }
        self.unsettled.removeAll()
        while let next = self.waiting.popFirst() {
            next.accepted.fail(error)
        }
    }
}

@available(*, unavailable)
extension CommandLink: Sendable {}
