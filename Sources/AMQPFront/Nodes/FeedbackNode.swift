// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import AMQP
import Hub
import HubModel
import NIOCore

/// `messages/servicebound/feedback`: tells a service what became of its commands (docs/wire/amqp.md#feedback).
///
/// Each message is a batch that this link has locked; several receivers share one queue. One batch is asked for at a time,
/// and only while it could be sent.
final class FeedbackNode: LinkNode {
    static let path = ["messages", "servicebound", "feedback"]
    private static let contentType = "application/vnd.microsoft.iothub.feedback.json"
    /// What the attach says as max-message-size.
    private static let messageBytesMax: UInt64 = 262_144

    let link: Link
    unowned let connection: AMQPConnection
    private let hub: Hub
    private let eventLoop: any EventLoop
    private var watch: FeedbackWatch?
    /// Batches that the peer has not settled, by the ids of their deliveries.
    private var unsettled: [UInt32: LockToken] = [:]
    private var mayHaveMore = false
    private var isFetching = false
    private var isClosed = false
    private var isSettledAtOnce = false

    init(link: Link, connection: AMQPConnection) throws(LinkRefusal) {
        self.link = link
        self.connection = connection
        hub = connection.hub
        eventLoop = connection.eventLoop
        guard link.role == .sender else { throw LinkRefusal(.wrongRole("Services receive feedback here.")) }
        guard connection.access.mayServe(Self.path) else { throw LinkRefusal(.serviceClaimMissing) }
    }

    var isAllowed: Bool { connection.access.mayServe(Self.path) }

    func open() -> AMQPError? {
        var reply = engine.reply(to: link)
        reply.maxMessageSize = Self.messageBytesMax
        isSettledAtOnce = reply.senderSettleMode == .settled
        engine.accept(link, with: reply)
        let bound = NIOLoopBound(self, eventLoop: eventLoop)
        watch = hub.feedback.watch(on: eventLoop) { bound.value.rung() }
        return nil
    }

    func close() {
        guard !isClosed else { return }
        isClosed = true
        watch?.cancel()
        for token in unsettled.values { giveBack(token) }
        unsettled.removeAll()
    }

    // MARK: Sending

    private func rung() {
        mayHaveMore = true
        guard !isClosed else { return }
        pump()
        connection.handler.flushUnlessReading()
    }

    func pump() {
        guard !isClosed, !isFetching else { return }
        guard mayHaveMore, engine.canSend(on: link), connection.handler.isWritable else {
            if !mayHaveMore || link.credit == 0 { engine.drained(link) }
            return
        }
        isFetching = true
        mayHaveMore = false
        hub.feedback.next(on: eventLoop).assumeIsolated().whenComplete { result in self.fetched(result) }
    }

    private func fetched(_ result: Result<LockedFeedback?, any Error>) {
        isFetching = false
        if case .success(let batch?) = result { send(batch) }
        guard !isClosed else { return }
        if case .failure(let error) = result {
            connection.handler.log("amqp feedback cannot be read: \((error as? HubError)?.message ?? "unknown")")
        }
        pump()
        connection.handler.flushUnlessReading()
    }

    private func send(_ batch: LockedFeedback) {
        // The peer may have gone, or have taken its credit back, while the batch was looked for.
        guard !isClosed, engine.canSend(on: link) else { return giveBack(batch.token) }
        mayHaveMore = true
        var message = Message()
        message.messageAnnotations = [.symbol("iothub-enqueuedtime"): .timestamp(batch.enqueuedMilliseconds)]
        var properties = MessageProperties()
        properties.messageID = .string(batch.token.text)
        properties.userID = ByteBuffer(string: hub.names.shortName)
        properties.contentType = Self.contentType
        message.properties = properties
        message.body = .data(FeedbackRecord.document(batch.records))
        let id = engine.send(on: link, settled: isSettledAtOnce, tag: batch.token.deliveryTag) { buffer in
            message.encode(into: &buffer)
        }
        if isSettledAtOnce {
            _ = hub.feedback.settle(batch.token, .completed, on: eventLoop)
        } else {
            unsettled[id] = batch.token
        }
    }

    /// Lets another receiver have a batch; where that fails, its lock times out.
    private func giveBack(_ token: LockToken) { _ = hub.feedback.settle(token, .released, on: eventLoop) }

    // MARK: Settlement

    func disposition(of deliveryID: UInt32, _ state: DeliveryState?, isSettled: Bool) {
        guard isSettled || state?.isOutcome == true, let token = unsettled.removeValue(forKey: deliveryID) else {
            return
        }
        let outcome: CommandOutcome =
            switch state {
            case .rejected: .rejected
            case .released, .modified: .abandoned
            case .accepted, .received, nil: .completed
            }
        let settling = hub.feedback.settle(token, outcome, on: eventLoop)
        guard !isSettled else { return }
        settling.assumeIsolated().whenComplete { result in self.settled(deliveryID, result) }
    }

    /// Answers a peer that waits for it, as the SDK for .NET does: with accepted, whatever the outcome was.
    private func settled(_ deliveryID: UInt32, _ result: Result<Void, any Error>) {
        guard !isClosed else { return }
        switch result {
        case .success: engine.confirm(deliveryID, on: link.session, .accepted)
        case .failure(let error):
            let known = error as? HubError ?? HubError(.internalError, "The feedback could not be settled.")
            let condition: AMQPCondition? = known.code == .messageLockLost ? .messageLockLost : nil
            let told = condition.map { AMQPError($0, known.message) } ?? AMQPError(known)
            engine.confirm(deliveryID, on: link.session, .rejected(told))
        }
        connection.handler.flushUnlessReading()
    }
}

@available(*, unavailable)
extension FeedbackNode: Sendable {}
