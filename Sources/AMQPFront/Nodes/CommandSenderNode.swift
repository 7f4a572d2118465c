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
    let engine: ConnectionEngine
    private let hub: Hub
    private let budget: IngestBudget
    /// Those that must wait until it is known for whom the one before them is.
    private var waiting: CircularBuffer<IncomingDelivery> = []
    private var isHeld = false
    private var isClosed = false

    init(link: Link, connection: AMQPConnection) throws(LinkRefusal) {
        self.link = link
        self.connection = connection
        engine = connection.engine
        hub = connection.hub
        budget = connection.budget
        guard link.role == .receiver else { throw LinkRefusal(.wrongRole("Services send commands here.")) }
        guard connection.access.mayServe(Self.path) else { throw LinkRefusal(.serviceClaimMissing) }
    }

    var isAllowed: Bool { connection.access.mayServe(Self.path) }

    func open() -> AMQPError? {
        let credit = connection.limits.commandCredit
        engine.accept(link, with: engine.reply(to: link), credit: credit, untilDone: true)
        return nil
    }

    func close() {
        isClosed = true
        while let delivery = waiting.popFirst() {
            settle(delivery, .released)
            budget.giveBack(delivery.payload.readableBytes)
        }
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
            refuse(delivery, error.error)
            budget.giveBack(delivery.payload.readableBytes)
            return
        }
        send(command.message, to: command.devices[...], delivery)
    }

    private func send(_ message: CommandMessage, to devices: ArraySlice<String>, _ delivery: IncomingDelivery) {
        guard let device = devices.first else { return }
        // An id with a percent sign may be meant as it stands or be encoded; the registry decides, and others wait for it.
        let others = devices.dropFirst()
        isHeld = !others.isEmpty
        hub.commands.send(message, to: device, on: connection.eventLoop).assumeIsolated().whenComplete { result in
            // Also for a link that is gone: the session counts what is not settled.
            guard !others.isEmpty, !self.isClosed else { return self.finished(delivery, result) }
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
        switch result {
        case .success:
            settle(delivery, .accepted)
            engine.done(on: link)
        case .failure(let error):
            refuse(delivery, AMQPError(error as? HubError ?? HubError(.internalError, "The command is not stored.")))
        }
        budget.giveBack(delivery.payload.readableBytes)
    }

    private func refuse(_ delivery: IncomingDelivery, _ error: AMQPError) {
        hub.metrics.refused("amqp command")
        reject(delivery, error)
    }
}

@available(*, unavailable)
extension CommandSenderNode: Sendable {}
