// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import AMQP
import NIOCore

/// Answers of `$cbs` and `$management` that wait for credit, in order for each link.
final class ResponseQueue {
    private struct Response {
        let payload: ByteBuffer
        let isSettled: Bool
        /// The link of the request, which is done when its answer is sent.
        let request: Link?
    }

    private let engine: ConnectionEngine
    private let countMax: Int
    private let bytesMax: Int
    private var waiting: [ObjectIdentifier: CircularBuffer<Response>] = [:]
    private var bytes = 0

    /// An empty queue.
    ///
    /// - Parameters:
    ///   - engine: What sends.
    ///   - countMax: How many answers may wait for one link.
    ///   - bytesMax: How many bytes may wait for all links.
    init(engine: ConnectionEngine, countMax: Int, bytesMax: Int) {
        self.engine = engine
        self.countMax = countMax
        self.bytesMax = bytesMax
    }

    /// Whether one more would be held for a link; always where none is, so that no peer of a gateway starves another.
    func hasRoom(for link: Link) -> Bool {
        let count = waiting[ObjectIdentifier(link)]?.count ?? 0
        return count == 0 || count < countMax && bytes < bytesMax
    }

    /// Sends an answer as soon as the link has credit.
    ///
    /// - Parameters:
    ///   - message: The answer.
    ///   - link: The link to send it on.
    ///   - settled: Whether it goes settled; nil leaves that to what the client asked for.
    ///   - request: The link on which the request came, nil for what nobody asked for.
    func add(_ message: Message, to link: Link, settled: Bool? = nil, answering request: Link? = nil) {
        // Settled unless the client insists: there is nothing to be done about an answer that is not accepted.
        let isSettled = settled ?? (link.remoteAttach.senderSettleMode != .unsettled)
        let response = Response(payload: message.encoded, isSettled: isSettled, request: request)
        bytes += response.payload.readableBytes
        waiting[ObjectIdentifier(link), default: []].append(response)
        send(on: link)
    }

    /// Sends what the link's credit allows.
    func send(on link: Link) {
        while engine.canSend(on: link), let next = waiting[ObjectIdentifier(link)]?.popFirst() {
            engine.send(on: link, settled: next.isSettled) { $0.writeImmutableBuffer(next.payload) }
            end(next)
        }
        if waiting[ObjectIdentifier(link)]?.isEmpty == true { waiting[ObjectIdentifier(link)] = nil }
    }

    /// Forgets what waits for a link that is gone.
    func remove(_ link: Link) {
        for response in waiting.removeValue(forKey: ObjectIdentifier(link)) ?? [] { end(response) }
    }

    /// Forgets everything.
    func removeAll() {
        waiting.removeAll()
        bytes = 0
    }

    private func end(_ response: Response) {
        bytes -= response.payload.readableBytes
        if let request = response.request { engine.done(on: request) }
    }
}

extension AMQPError {
    static let tooManyAnswersWait = AMQPError(.resourceLimitExceeded, "Too many answers wait for credit.")
}
