// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import AMQP
import Hub
import HubModel
import NIOCore

/// Where a device takes its commands (docs/wire/amqp.md#commands-to-devices): as many as the link has credit for are locked and
/// sent, and each is settled as the device says.
final class CommandNode: IdentityNode {
    /// The locks of the commands that the device has not settled, by their deliveries.
    private var locked: [UInt32: LockToken] = [:]
    private var isPulling = false
    /// Whether commands may be waiting.
    private var mayHaveMore = true
    /// Whether the doorbell rang while commands were asked for.
    private var hasRung = false
    private var retryIsScheduled = false

    init(link: Link, connection: AMQPConnection, address: IdentityAddress) {
        super.init(link: link, connection: connection, address: address, kind: .commands)
    }

    override func began() {
        session?.wants(.commands, true)
        pull()
    }

    override func pump() {
        pull()
        if !isPulling { super.pump() }
    }

    override func deliver(_ delivery: Delivery) {
        guard delivery == .commandsWaiting else { return }
        ring()
    }

    /// The device goes without them for good: they come again, on this link's successor or on another connection.
    override func ended() {
        session?.wants(.commands, false)
        for token in locked.values { release(token) }
        locked.removeAll()
    }

    // MARK: To the device

    private func ring() {
        hasRung = true
        mayHaveMore = true
        pull()
    }

    private func pull() {
        let room = connection.limits.commandsInFlightMax - locked.count
        guard mayHaveMore, !isPulling, room > 0, engine.canSend(on: link), connection.handler.isWritable, let session
        else { return }
        let wanted = min(Int(link.credit), room)
        isPulling = true
        hasRung = false
        session.nextCommands(max: wanted).assumeIsolated().whenComplete { result in
            self.isPulling = false
            switch result {
            case .success(let commands): self.pulled(commands, wanted: wanted, session)
            case .failure(let error): self.failed(error)
            }
        }
    }

    private func pulled(_ commands: [LockedCommand], wanted: Int, _ session: DeviceSession) {
        guard !isClosed else {
            for command in commands { _ = session.settle(command.token, .released) }
            return
        }
        mayHaveMore = hasRung || commands.count == wanted
        for command in commands {
            // What the credit was for may have been used or taken back meanwhile.
            guard engine.canSend(on: link) else {
                release(command.token)
                mayHaveMore = true
                continue
            }
            send(command)
        }
        pump()
        connection.handler.flushUnlessReading()
    }

    private func failed(_ error: any Error) {
        guard !isClosed else { return }
        hub.metrics.refused("amqp commands")
        connection.handler.log("amqp commands could not be read: \(error)")
        // A device that has credit and waits gives no reason to look again.
        guard !retryIsScheduled else { return }
        retryIsScheduled = true
        connection.handler.later(milliseconds: connection.limits.commandRetryMilliseconds) { [weak self] in
            guard let self else { return }
            self.retryIsScheduled = false
            if !self.isClosed { self.pull() }
        }
    }

    private func send(_ locked: LockedCommand) {
        let message = Self.message(locked, hubName: hub.names.shortName)
        let isSettled = link.remoteAttach.senderSettleMode == .settled
        let id = engine.send(on: link, settled: isSettled, tag: locked.token.deliveryTag) { message.encode(into: &$0) }
        if isSettled {
            settle(locked.token, .completed) { _ in }
        } else {
            self.locked[id] = locked.token
        }
    }

    private func release(_ token: LockToken) { settle(token, .released) { _ in } }

    // MARK: From the device

    override func disposition(of deliveryID: UInt32, _ state: DeliveryState?, isSettled: Bool) {
        guard let outcome = Self.outcome(state, isSettled: isSettled),
            let token = locked.removeValue(forKey: deliveryID)
        else { return }
        let (engine, amqpSession) = (engine, link.session)
        let handler = connection.handler
        settle(token, outcome) { result in
            if !isSettled {
                // For .NET each of the three outcomes is confirmed as accepted; anything else means that it failed.
                let answer: DeliveryState
                switch result {
                case .success: answer = .accepted
                case .failure(let error): answer = .rejected(AMQPError(error))
                }
                engine.confirm(deliveryID, on: amqpSession, answer)
            }
            guard !self.isClosed else { return }
            // What was given back waits again, and there is room for one more.
            if outcome == .abandoned { self.ring() } else { self.pull() }
            handler.flushSoon()
        }
    }

    private func settle(
        _ token: LockToken,
        _ outcome: CommandOutcome,
        then body: @escaping (Result<Void, HubError>) -> Void
    ) {
        guard let session else { return }
        session.settle(token, outcome).assumeIsolated().whenComplete { result in
            body(result.mapError { $0 as? HubError ?? HubError(.internalError, "The command could not be settled.") })
        }
    }

    /// What a state means for a command; nil where it decides nothing yet.
    static func outcome(_ state: DeliveryState?, isSettled: Bool) -> CommandOutcome? {
        switch state {
        case .accepted: .completed
        case .rejected: .rejected
        case .released, .modified: .abandoned
        case .received, nil: isSettled ? .completed : nil
        }
    }

    /// A command as devices expect it: with exactly these types, and nothing but strings among the properties.
    static func message(_ locked: LockedCommand, hubName: String) -> Message {
        let command = locked.command
        var message = Message()
        message.messageAnnotations = [
            .symbol("iothub-enqueuedtime"): .timestamp(command.enqueuedMilliseconds),
            .symbol("iothub-deliverycount"): .ubyte(UInt8(clamping: command.deliveryCount)),
            .symbol("x-opt-lock-token"): .string(locked.token.text),
            .symbol("x-opt-sequence-number"): .ulong(UInt64(clamping: command.sequenceNumber)),
        ]
        var properties = MessageProperties()
        properties.messageID = command.message.messageID.map { .string($0) }
        properties.userID = command.message.userID.map { ByteBuffer(bytes: $0) } ?? ByteBuffer(string: hubName)
        properties.to = "/devices/\(command.device)/messages/devicebound"
        properties.correlationID = command.message.correlationID.map { .string($0) }
        properties.contentType = command.message.contentType
        properties.contentEncoding = command.message.contentEncoding
        properties.absoluteExpiryTime = command.message.expiresMilliseconds
        message.properties = properties
        var application = AMQPMap()
        if command.message.acknowledgement != .none {
            application.append(.string("iothub-ack"), .string(command.message.acknowledgement.rawValue))
        }
        for property in command.message.properties {
            application.append(.string(property.name), .string(property.value))
        }
        if !application.entries.isEmpty { message.applicationProperties = application }
        message.body = .data(command.message.body)
        return message
    }
}
