// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import AMQP
import Hub
import HubModel
import NIOCore

/// Telemetry of one identity: all that a read brings is one batch, and is answered when the batch is durable.
final class TelemetryNode: IdentityNode {
    private var batch: TelemetryBatch?
    /// The deliveries of the batch that are to be answered.
    private var owed: [UInt32] = []
    private var isInRead = false
    /// How many messages came since the last batch was published.
    private var taken: UInt32 = 0

    init(link: Link, connection: AMQPConnection, address: IdentityAddress) {
        super.init(link: link, connection: connection, address: address, kind: .telemetry)
    }

    override var credit: UInt32 { connection.limits.telemetryCredit }

    override func received(_ delivery: IncomingDelivery) {
        if let faults = hub.faults, !connection.mayTake(delivery, on: self, despite: faults) {
            return engine.done(on: link)
        }
        if batch == nil {
            guard let session else { return reject(delivery, .accessEnded) }
            let capacity = 512 + 2 * delivery.payload.readableBytes
            batch = session.makeBatch(allocator: ByteBufferAllocator(), capacity: capacity)
        }
        // In place, so that the batch's buffer is never copied.
        let limits = connection.limits
        let rules = TelemetryRules(
            sizeMax: hub.limits.telemetryMessageSizeMax,
            propertiesMax: limits.propertiesPerMessageMax,
            isPlugAndPlay: session?.identity.modelID != nil
        )
        taken += 1
        let error = batch?.add(delivery, rules)
        if let error {
            hub.metrics.refused("amqp telemetry")
            settle(delivery, .rejected(error))
        } else if !delivery.isSettled {
            owed.append(delivery.id)
        }
        if !isInRead {
            isInRead = true
            connection.wantsReadEnd(self)
        }
        if batch?.byteCount ?? 0 >= limits.batchBytesMax { publish() }
    }

    override func readEnded() {
        isInRead = false
        publish()
    }

    override func ended() { publish() }

    private func publish() {
        guard let batch, let session else { return }
        self.batch = nil
        let pending = PendingTelemetry(
            deliveryIDs: owed,
            count: taken,
            link: link,
            engine: engine,
            budget: connection.budget,
            byteCount: batch.byteCount,
            metrics: hub.metrics
        )
        owed = []
        taken = 0
        pending.begin()
        guard batch.count > 0 else { return pending.complete(.success(())) }
        session.publish(batch).assumeIsolated().whenComplete { result in pending.complete(result.map { _ in }) }
    }
}

/// Deliveries whose messages were handed to the hub; they are answered even where their link is gone by then.
private struct PendingTelemetry {
    let deliveryIDs: [UInt32]
    /// How many messages there are, those included that were rejected or need no answer.
    let count: UInt32
    let link: Link
    let engine: ConnectionEngine
    let budget: IngestBudget
    let byteCount: Int
    let metrics: HubMetrics
    let start = NIODeadline.now()

    func begin() { budget.take(byteCount) }

    func complete(_ result: Result<Void, any Error>) {
        let state: DeliveryState
        switch result {
        case .success:
            state = .accepted
            let waited = (NIODeadline.now() - start).nanoseconds / 1000
            if !deliveryIDs.isEmpty {
                metrics.acknowledgementLatency.record(microseconds: Int(waited), count: deliveryIDs.count)
            }
        case .failure(let error):
            let known = error as? HubError ?? HubError(.serviceUnavailable, "The message could not be stored.")
            state = .rejected(AMQPError(known))
        }
        for id in deliveryIDs { engine.settle(id, on: link.session, state) }
        engine.done(count, on: link)
        budget.giveBack(byteCount)
    }
}

/// How many bytes of one connection wait to become durable: at the bound, the connection is not read.
final class IngestBudget {
    private weak var handler: AMQPHandler?
    private let bytesMax: Int
    private var bytes = 0

    init(handler: AMQPHandler, bytesMax: Int) {
        self.handler = handler
        self.bytesMax = bytesMax
    }

    /// Whether the connection must not be read.
    var isUsedUp: Bool { bytes >= bytesMax }

    /// Notes bytes that wait.
    func take(_ count: Int) { bytes += count }

    /// Notes bytes that wait no more; what they brought about is sent soon.
    func giveBack(_ count: Int) {
        bytes -= count
        handler?.resumeReading()
        handler?.flushSoon()
    }
}

@available(*, unavailable)
extension IngestBudget: Sendable {}
