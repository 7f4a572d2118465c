// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import AMQP
import Hub
import HubModel
import NIOCore

/// `messages/devicebound`: takes a service's commands for devices (docs/wire/amqp.md#commands).
///
/// A command is accepted when it is durable. Commands of one link reach their queues in the order in which they came. At
/// most as many are under way as the link had credit for: credit is given anew as commands are settled. Those of all links
/// count as what the connection has on its way to the store; it is read no further where that is too much.
final class CommandSenderNode: LinkNode {
    static let path = ["messages", "devicebound"]

    let link: Link
    unowned let connection: AMQPConnection
    private let hub: Hub
    private let budget: IngestBudget
    /// How many commands are on their way to the store.
    private var underWay = 0
    /// Those that must wait until it is known for whom the one before them is.
    private var waiting: CircularBuffer<IncomingDelivery> = []
    private var isHeld = false
    private var isClosed = false

    init(link: Link, connection: AMQPConnection) throws(LinkRefusal) {
        self.link = link
        self.connection = connection
        hub = connection.hub
        budget = connection.budget
        guard link.role == .receiver else { throw LinkRefusal(.wrongRole("Services send commands here.")) }
        guard connection.access.mayServe(Self.path) else { throw LinkRefusal(.serviceClaimMissing) }
    }

    var isAllowed: Bool { connection.access.mayServe(Self.path) }

    func open() -> AMQPError? {
        engine.accept(link, with: engine.reply(to: link))
        engine.grantCredit(connection.limits.commandCredit, to: link)
        return nil
    }

    func close() {
        isClosed = true
        while let delivery = waiting.popFirst() { budget.giveBack(delivery.payload.readableBytes) }
    }

    func received(_ delivery: IncomingDelivery) {
        budget.take(delivery.payload.readableBytes)
        guard !isHeld else { return waiting.append(delivery) }
        take(delivery)
    }

    private func take(_ delivery: IncomingDelivery) {
        let command: ReceivedCommand
        do throws(LinkRefusal) {
            command = try ReceivedCommand(delivery, limits: connection.limits.engine)
        } catch {
            budget.giveBack(delivery.payload.readableBytes)
            reject(delivery, error.error)
            return
        }
        underWay += 1
        send(command.message, to: command.devices[...], delivery)
    }

    private func send(_ message: CommandMessage, to devices: ArraySlice<String>, _ delivery: IncomingDelivery) {
        guard let device = devices.first else { return }
        // An id with a percent sign may be meant as it stands or be encoded; the registry decides, and others wait for it.
        let others = devices.dropFirst()
        isHeld = !others.isEmpty
        hub.commands.send(message, to: device, on: connection.eventLoop).assumeIsolated().whenComplete { result in
            guard !self.isClosed else { return self.budget.giveBack(delivery.payload.readableBytes) }
            guard !others.isEmpty else { return self.finished(delivery, result) }
            if case .failure(let error) = result, (error as? HubError)?.code == .deviceNotFound {
                self.send(message, to: others, delivery)
            } else {
                self.isHeld = false
                self.finished(delivery, result)
            }
            while !self.isHeld, let next = self.waiting.popFirst() { self.take(next) }
        }
    }

    private func finished(_ delivery: IncomingDelivery, _ result: Result<Void, any Error>) {
        underWay -= 1
        switch result {
        case .success: settle(delivery, .accepted)
        case .failure(let error):
            reject(delivery, AMQPError(error as? HubError ?? HubError(.internalError, "The command is not stored.")))
        }
        replenish()
        budget.giveBack(delivery.payload.readableBytes)
    }

    private func reject(_ delivery: IncomingDelivery, _ error: AMQPError) {
        hub.metrics.refused("amqp command")
        settle(delivery, .rejected(error))
        replenish()
    }

    /// Lets the service send on when half of what it may send has been settled.
    private func replenish() {
        let target = connection.limits.commandCredit
        let pending = UInt32(underWay + waiting.count)
        guard link.credit + pending <= target / 2 else { return }
        engine.grantCredit(target - pending, to: link)
    }
}

@available(*, unavailable)
extension CommandSenderNode: Sendable {}
