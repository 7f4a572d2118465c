// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import Hub
import HubModel
import MQTT
import NIOCore

/// What each packet of a client leads to.
extension MQTTHandler {
    /// A change of what a persistent session subscribed to, and the acknowledgement that waits for it.
    struct StoreStep: Sendable {
        enum Change: Sendable {
            case add([SubscriptionFilter])
            case remove([String])
        }

        var change: Change
        var acknowledgement: UInt64
    }

    func packetReceived(_ packet: Packet) {
        switch packet {
        case .connect(let connect): connectReceived(connect)
        case .publish(let publish): publishReceived(publish)
        case .subscribe(let subscribe): subscribeReceived(subscribe)
        case .unsubscribe(let unsubscribe): unsubscribeReceived(unsubscribe)
        case .puback(let puback): pubackReceived(puback)
        case .pingreq: pingreqReceived()
        case .disconnect: close(.session(machine.disconnectReceived()))
        case .connack, .pubrec, .pubrel, .pubcomp, .suback, .unsuback, .pingresp:
            close(.session(machine.unexpectedReceived(packet.type)))
        }
    }

    func malformedReceived(_ error: MQTTError) {
        switch machine.malformedReceived(error) {
        case .refuse(let code): refuse(code)
        case .close(let end): close(.session(end))
        }
    }

    /// The data path.
    func publishReceived(_ publish: Publish) {
        switch machine.publishReceived(qos: publish.qos, packetID: publish.packetID) {
        case .close(let end): return close(.session(end))
        case .take: break
        }
        guard let scope else { preconditionFailure("connected without a scope") }
        let acknowledgement = publish.qos == .atLeastOnce ? machine.acknowledgements.nextNumber - 1 : nil
        switch HubTopic.parse(publish.topic, in: scope) {
        case .telemetry(let bag):
            if let faults = front.hub.faults, !mayTake(bag, despite: faults) { return }
            if acknowledgement != nil { batchAcknowledgements += 1 }
            telemetryReceived(publish, bag: bag)
        case .twinRead(let requestID):
            if let acknowledgement { publishBatch(before: acknowledgement) }
            twinReadReceived(requestID: requestID, acknowledgement: acknowledgement)
        case .reportedPatch(let requestID, let version):
            if let acknowledgement { publishBatch(before: acknowledgement) }
            reportReceived(publish, requestID: requestID, version: version, acknowledgement: acknowledgement)
        case .methodResponse(let status, let requestID):
            if let acknowledgement { publishBatch(before: acknowledgement) }
            methodResponseReceived(publish, status: status, requestID: requestID, acknowledgement: acknowledgement)
        case .certificateRequest: close(.topicUnsupported)
        case nil, .methodRequest, .twinResponse, .desiredPatch, .command, .moduleInput, .certificateResponse:
            close(.topicForbidden)
        }
    }

    private func pingreqReceived() {
        switch machine.pingreqReceived() {
        case .sendPingresp: Pingresp.encode(into: &outbound)
        case .close(let end): close(.session(end))
        }
    }

    private func pubackReceived(_ packet: Puback) {
        switch machine.pubackReceived(packetID: packet.packetID) {
        case .settle(let token): commandAcknowledged(token)
        case .ignore: break
        case .close(let end): close(.session(end))
        }
    }

    // MARK: Subscriptions

    private func subscribeReceived(_ packet: Subscribe) {
        guard machine.isConnected, let scope else { return close(.session(machine.unexpectedReceived(.subscribe))) }
        guard packet.requests.allSatisfy({ scope.isWellFormed(filter: $0.filter) }) else {
            return malformedReceived(.topicFilterInvalid)
        }
        let bytesMax = front.limits.connection.filterBytesMax
        guard packet.requests.allSatisfy({ $0.filter.utf8.count <= bytesMax }) else { return close(.filterTooLong) }
        // No 0x80: SDKs would wait for ever, while a closed connection tells (docs/wire/mqtt.md#subscribe).
        guard packet.requests.allSatisfy({ scope.accepts(filter: $0.filter) }) else { return close(.filterForbidden) }
        // The PUBACKs of one batch stand next to each other in the queue.
        publishBatch()
        switch machine.subscribeReceived(packet) {
        case .close(let end): close(.session(end))
        case .store(let acknowledgement):
            let created = front.hub.clock.milliseconds
            let filters = packet.requests.map {
                SubscriptionFilter(
                    filter: $0.filter,
                    qos: min($0.qos, .atLeastOnce).rawValue,
                    createdMilliseconds: created
                )
            }
            subscriptionsChanged()
            store(StoreStep(change: .add(filters), acknowledgement: acknowledgement))
        }
    }

    private func unsubscribeReceived(_ packet: Unsubscribe) {
        if let scope, !packet.filters.allSatisfy({ scope.isWellFormed(filter: $0) }) {
            return malformedReceived(.topicFilterInvalid)
        }
        publishBatch()
        switch machine.unsubscribeReceived(packet) {
        case .close(let end): close(.session(end))
        case .store(let acknowledgement):
            subscriptionsChanged()
            store(StoreStep(change: .remove(packet.filters), acknowledgement: acknowledgement))
        }
    }

    private func store(_ step: StoreStep) {
        guard keepsSession else {
            acknowledge(step)
            return commandsMayWait()
        }
        storeSteps.append(step)
        if storeSteps.count == 1 { runStoreStep() }
    }

    /// One after the other, so that the store ends up with what the client asked for last.
    private func runStoreStep() {
        guard let step = storeSteps.first, let context, let session else { return }
        let identities = front.hub.stores.identities
        let id = session.identity.id
        context.eventLoop.makeFutureWithTask {
            switch step.change {
            case .add(let filters): try await identities.addSubscriptions(filters, of: id)
            case .remove(let filters): try await identities.removeSubscriptions(filters, of: id)
            }
        }.assumeIsolated().whenComplete { result in
            guard !self.isClosing else { return }
            switch result {
            case .success:
                self.storeSteps.removeFirst()
                self.acknowledge(step)
                self.runStoreStep()
                self.commandsMayWait()
            case .failure:
                self.close(.storageFailed)
            }
        }
    }

    private func acknowledge(_ step: StoreStep) {
        machine.acknowledgements.complete(first: step.acknowledgement, count: 1)
        acknowledgementsCompleted()
    }

    /// Sends what may leave, and goes on with what had to wait for it.
    func acknowledgementsCompleted() {
        sendAcknowledgements()
        resume()
        closeIfQuiet()
    }
}
