// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import AMQP
import NIOCore

/// Answers of `$cbs` and `$management` that wait for credit, in order for each link.
final class ResponseQueue {
    private let engine: ConnectionEngine
    private let max: Int
    private var waiting: [(link: Link, payload: ByteBuffer)] = []

    /// An empty queue that holds `max` answers.
    init(engine: ConnectionEngine, max: Int) {
        self.engine = engine
        self.max = max
    }

    /// Whether one more would be held.
    var hasRoom: Bool { waiting.count < max }

    /// Sends an answer as soon as the link has credit.
    func add(_ message: Message, to link: Link) {
        waiting.append((link, message.encoded))
        send(on: link)
    }

    /// Sends what the link's credit allows.
    func send(on link: Link) {
        while let index = waiting.firstIndex(where: { $0.link === link }), engine.canSend(on: link) {
            let payload = waiting.remove(at: index).payload
            // Settled unless the client insists: there is nothing to be done about an answer that is not accepted.
            let isSettled = link.remoteAttach.senderSettleMode != .unsettled
            engine.send(on: link, settled: isSettled) { $0.writeImmutableBuffer(payload) }
        }
    }

    /// Forgets what waits for a link that is gone.
    func remove(_ link: Link) { waiting.removeAll { $0.link === link } }

    /// Forgets everything.
    func removeAll() { waiting.removeAll() }
}
