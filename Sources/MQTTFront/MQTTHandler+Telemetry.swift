// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import Hub
import HubModel
import Logging
import MQTT
import NIOCore

/// From PUBLISH to PUBACK.
extension MQTTHandler {
    /// A batch that was handed to the hub.
    struct PendingBatch {
        /// Tells it from the other batches of the connection.
        var number: UInt64
        var batch: TelemetryBatch
        /// The first of its PUBACKs in the queue, and how many there are.
        var firstAcknowledgement: UInt64
        var acknowledgements: Int
        var receivedAt: Duration
    }

    /// The state of a connection whose messages can't be stored: it is not read until they can, or the time is over.
    struct Stall {
        var since: Duration
        /// Batches in the order of their arrival, the first of which is tried again.
        var failed: [PendingBatch]
        var retryIsScheduled = false
    }

    /// Adds a message to the batch of this read.
    func telemetryReceived(_ publish: Publish, bag: ByteBuffer) {
        guard let session else { preconditionFailure("telemetry without a session") }
        if batch == nil {
            batch = session.makeBatch(
                allocator: ByteBufferAllocator(),
                capacity: guessedCapacity(publish)
            )
        }
        // In place, so that the batch's buffer is never copied.
        switch encode(publish, bag: bag, isWill: false) {
        case .encoded: break
        case .tooLarge: return close(.messageTooLarge)
        case .tooManyProperties: return close(.tooManyProperties)
        }
        if batch?.byteCount ?? 0 >= front.limits.batchBytesMax { publishBatch() }
    }

    private enum Encoding {
        case encoded
        case tooLarge
        case tooManyProperties
    }

    /// Room for this message and for as many of its size as the rest of what was received holds.
    private func guessedCapacity(_ publish: Publish) -> Int {
        let size = publish.payload.readableBytes + publish.topic.readableBytes
        let more = received.readableBytes / max(size, 16)
        return 512 + (size + 96) * (1 + more)
    }

    private func encode(_ publish: Publish, bag: ByteBuffer, isWill: Bool) -> Encoding {
        batch?.begin()
        let countMax = front.limits.propertiesPerMessageMax
        guard batch?.add(bag, countMax: countMax, isPlugAndPlay: isPlugAndPlay) ?? false else {
            batch?.abandon()
            return .tooManyProperties
        }
        // Not retained, but told to the readers (docs/wire/mqtt.md#publish).
        if publish.retain { batch?.applicationProperty("mqtt-retain", "true") }
        if isWill { batch?.applicationProperty("iothub-MessageType", "Will") }
        return batch?.finish(body: publish.payload) ?? false ? .encoded : .tooLarge
    }

    /// Hands the batch of this read to the hub.
    ///
    /// - Parameter number: the number of the acknowledgement behind the batch's own, nil for the next to come
    func publishBatch(before number: UInt64? = nil) {
        guard let batch else { return }
        self.batch = nil
        let acknowledgements = batchAcknowledgements
        batchAcknowledgements = 0
        guard batch.count > 0 else { return }
        let first = (number ?? machine.acknowledgements.nextNumber) - UInt64(acknowledgements)
        batchesPublished += 1
        publish(
            PendingBatch(
                number: batchesPublished,
                batch: batch,
                firstAcknowledgement: first,
                acknowledgements: acknowledgements,
                receivedAt: now
            )
        )
    }

    private func publish(_ pending: PendingBatch) {
        guard let session else { return }
        bytesInFlight += pending.batch.byteCount
        batchesInFlight += 1
        session.publish(pending.batch).assumeIsolated().whenComplete { result in
            self.bytesInFlight -= pending.batch.byteCount
            self.batchesInFlight -= 1
            guard !self.isClosing else { return }
            switch result {
            case .success: self.batchStored(pending)
            case .failure: self.batchFailed(pending)
            }
        }
    }

    private func batchStored(_ pending: PendingBatch) {
        if stall != nil {
            // A later batch got through where an earlier one did not: only the client can restore their order.
            guard stall?.failed.first?.number == pending.number else { return close(.storageFailed) }
            stall?.failed.removeFirst()
            if stall?.failed.isEmpty ?? true { stall = nil }
        }
        if pending.acknowledgements > 0 {
            machine.acknowledgements.complete(
                first: pending.firstAcknowledgement,
                count: pending.acknowledgements
            )
            let waited = (now - pending.receivedAt).components
            front.hub.metrics.acknowledgementLatency.record(
                microseconds: Int(waited.seconds * 1_000_000 + waited.attoseconds / 1_000_000_000_000),
                count: pending.acknowledgements
            )
        }
        acknowledgementsCompleted()
        if stall != nil { retry() }
    }

    // MARK: Storage that fails

    private func batchFailed(_ pending: PendingBatch) {
        var stall = self.stall ?? Stall(since: now, failed: [])
        if stall.failed.first?.number != pending.number { stall.failed.append(pending) }
        self.stall = stall
        guard now - stall.since < front.limits.stallTimeout else { return close(.storageFailed) }
        scheduleRetry()
    }

    private func scheduleRetry() {
        guard let context, batchesInFlight == 0, stall?.retryIsScheduled == false else { return }
        stall?.retryIsScheduled = true
        let delay = TimeAmount(front.limits.stallRetryDelay)
        context.eventLoop.assumeIsolated().scheduleTask(in: delay) { [weak self] in
            self?.stall?.retryIsScheduled = false
            self?.retry()
        }
    }

    /// Tries the first failed batch again; the others follow when it is stored.
    private func retry() {
        guard !isClosing, let first = stall?.failed.first else { return }
        publish(first)
    }

    // MARK: The will

    /// Publishes the will if the session rules say so; nobody waits for it.
    func publishWill() {
        guard machine.takeWill(), let will, let scope, let session, let bag = scope.telemetryBag(of: will.topic) else {
            return
        }
        self.will = nil
        batch = session.makeBatch(allocator: ByteBufferAllocator(), capacity: 1024)
        let publish = Publish(topic: will.topic, payload: will.payload, retain: will.retain)
        guard case .encoded = encode(publish, bag: bag, isWill: true), let batch else {
            front.hub.logger.info("mqtt will dropped: it is larger than a message may be")
            return
        }
        self.batch = nil
        let logger = front.hub.logger
        session.publish(batch).whenFailure { error in
            logger.warning("mqtt will not stored", metadata: ["reason": "\(error)"])
        }
    }
}

extension TelemetryBatch {
    /// Adds the properties of a bag to the message that is being written; false if they are too many.
    fileprivate mutating func add(_ bag: ByteBuffer, countMax: Int, isPlugAndPlay: Bool) -> Bool {
        PropertyBag.decode(bag, into: &self, countMax: countMax, isPlugAndPlay: isPlugAndPlay)
    }
}
