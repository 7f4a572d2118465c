// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import AMQP
import NIOCore

/// Answers of `$cbs` and `$management` that wait for credit, in order for each link.
final class ResponseQueue {
    private let engine: ConnectionEngine
    private let max: Int
    private var waiting: [(link: Link, payload: ByteBuffer, settled: Bool)] = []

    /// An empty queue that holds `max` answers.
    init(engine: ConnectionEngine, max: Int) {
        self.engine = engine
        self.max = max
    }

    /// Whether one more would be held.
    var hasRoom: Bool { waiting.count < max }

    /// Sends an answer as soon as the link has credit.
    ///
    /// - Parameters:
    ///   - message: The answer.
    ///   - link: The link to send it on.
    ///   - settled: Whether it goes settled; nil leaves that to what the client asked for.
    func add(_ message: Message, to link: Link, settled: Bool? = nil) {
        // Settled unless the client insists: there is nothing to be done about an answer that is not accepted.
        waiting.append((link, message.encoded, settled ?? (link.remoteAttach.senderSettleMode != .unsettled)))
        send(on: link)
    }

    /// Sends what the link's credit allows.
    func send(on link: Link) {
        while let index = waiting.firstIndex(where: { $0.link === link }), engine.canSend(on: link) {
            let next = waiting.remove(at: index)
            engine.send(on: link, settled: next.settled) { $0.writeImmutableBuffer(next.payload) }
        }
    }

    /// Forgets what waits for a link that is gone.
    func remove(_ link: Link) { waiting.removeAll { $0.link === link } }

    /// Forgets everything.
    func removeAll() { waiting.removeAll() }
}
