// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import Hub
import HubModel
import Logging
import MQTT
import NIOCore

/// The commands of one connection that are under way.
struct CommandFlow {
    /// Those that wait for their PUBACK, by the numbers that the window keeps.
    var sent: [(number: UInt64, token: LockToken)] = []
    /// How many are being settled, those at QoS 0 that wait for the network included.
    var settling = 0
    /// Whether the hub was asked for more and has not answered.
    var isAsking = false
    /// Whether the queue may hold more than the hub was asked for.
    var mayWait = false
    var retryIsScheduled = false
    fileprivate var lastNumber: UInt64 = 0

    /// How many the client or the store has not done with.
    var unsettled: Int { sent.count + settling }
}

/// Commands, from the device's queue to the client (docs/wire/mqtt.md#commands).
extension MQTTHandler {
    /// Commands may be in the queue that were not before, or the client may be sent them now.
    func commandsMayWait() {
        commands.mayWait = true
        askForCommands()
    }

    /// Asks the hub for as many commands as the client may be sent now.
    ///
    /// May be called at any time; where it does nothing, it is called again when that has changed.
    func askForCommands() {
        guard let session, commands.mayWait, interests.contains(.commands), !isClosing, !isQuiescing else { return }
        // The SUBACK goes first; and nothing is taken for a client that does not read.
        guard storeSteps.isEmpty, context?.channel.isWritable ?? false else { return }
        let room = front.limits.connection.outgoingWindowMax - commands.unsettled
        guard room > 0, !commands.isAsking, !commands.retryIsScheduled else { return }
        commands.isAsking = true
        commands.mayWait = false
        session.nextCommands(max: room, holdsUntilExpiry: true).assumeIsolated().whenComplete { result in
            self.commands.isAsking = false
            guard !self.isClosing else { return }
            switch result {
            case .success(let locked):
                if locked.count == room { self.commands.mayWait = true }
                self.send(locked)
                self.askForCommands()
            case .failure(let error):
                self.commands.mayWait = true
                self.front.hub.logger.debug("commands can't be read", metadata: ["reason": "\(error)"])
                self.askForCommandsLater()
            }
        }
    }

    private func askForCommandsLater() {
        guard let context, !commands.retryIsScheduled else { return }
        commands.retryIsScheduled = true
        let delay = TimeAmount(front.limits.commandRetryDelay)
        context.eventLoop.assumeIsolated().scheduleTask(in: delay) { [weak self] in
            self?.commands.retryIsScheduled = false
            self?.askForCommands()
        }
    }

    /// Sends commands in the order of their queue.
    private func send(_ locked: [LockedCommand]) {
        var unacknowledged: [LockToken] = []
        for each in locked where send(each) == .atMostOnce { unacknowledged.append(each.token) }
        guard !unacknowledged.isEmpty, let context else { return flush() }
        // At QoS 0 a command is done with when the network has it.
        commands.settling += unacknowledged.count
        let written = context.eventLoop.makePromise(of: Void.self)
        written.futureResult.assumeIsolated().whenSuccess { [unacknowledged] in
            guard !self.isClosing else { return }
            for token in unacknowledged { self.settle(token, .completed) }
        }
        flush(written)
    }

    /// Sends one command; returns the QoS that it went at, nil where it did not go.
    private func send(_ locked: LockedCommand) -> QoS? {
        guard let scope else { return nil }
        let topic = HubTopic.command(bag: CommandBag.text(of: locked.command)).printed(in: scope)
        guard topic.utf8.count <= Int(UInt16.max) else {
            front.hub.logger.info("command rejected: its properties do not fit into a topic")
            startSettling(locked.token, .rejected)
            return nil
        }
        commands.lastNumber += 1
        // The filter may be gone since the hub was asked.
        guard let granted = machine.subscriptions.granted(for: topic),
            let packetID = granted == .atMostOnce ? 0 : machine.takePacketID(token: commands.lastNumber)
        else {
            startSettling(locked.token, .released)
            return nil
        }
        var publish = Publish(topic: ByteBuffer(string: topic), payload: locked.command.message.body)
        (publish.qos, publish.packetID) = (min(granted, .atLeastOnce), packetID)
        publish.duplicate = packetID != 0 && locked.isRedelivery
        do throws(MQTTError) {
            try publish.encode(into: &outbound)
        } catch {
            preconditionFailure("a PUBLISH that can't be written: \(error)")
        }
        if packetID != 0 { commands.sent.append((commands.lastNumber, locked.token)) }
        return publish.qos
    }

    /// PUBACK: the client has taken the command that has this number.
    func commandAcknowledged(_ number: UInt64) {
        guard let index = commands.sent.firstIndex(where: { $0.number == number }) else { return }
        startSettling(commands.sent.remove(at: index).token, .completed)
    }

    private func startSettling(_ token: LockToken, _ outcome: CommandOutcome) {
        commands.settling += 1
        settle(token, outcome)
    }

    /// Tells the hub what became of a command that is counted as being settled.
    private func settle(_ token: LockToken, _ outcome: CommandOutcome) {
        guard let session else { return }
        session.settle(token, outcome).assumeIsolated().whenComplete { result in
            guard !self.isClosing else { return }
            if case .failure(let error) = result, (error as? HubError)?.code.isTransient ?? true, !self.isQuiescing {
                return self.settleLater(token, outcome)
            }
            self.commands.settling -= 1
            self.askForCommands()
            self.closeIfQuiet()
        }
    }

    private func settleLater(_ token: LockToken, _ outcome: CommandOutcome) {
        let delay = TimeAmount(front.limits.commandRetryDelay)
        context?.eventLoop.assumeIsolated().scheduleTask(in: delay) { [weak self] in
            guard let self, !self.isClosing else { return }
            self.settle(token, outcome)
        }
    }
}
