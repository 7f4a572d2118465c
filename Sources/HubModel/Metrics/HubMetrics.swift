// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import Synchronization

/// What the hub counts about itself; rendered by the program at /metrics.
public final class HubMetrics: Sendable {
    /// Connections of one protocol.
    public struct Connections: Sendable {
        /// Those that are open now, signed in or not.
        public let open = Gauge()
        /// Those that were accepted since the start.
        public let accepted = Counter()
        /// Sign-ins that succeeded since the start.
        public let signedIn = Counter()

        init() {}
    }

    /// Connections over MQTT.
    public let mqtt = Connections()
    /// Connections over AMQP.
    public let amqp = Connections()
    /// Connections over HTTPS.
    public let http = Connections()
    /// Device-to-cloud messages that were taken in, stored or not.
    public let telemetryMessagesIn = Counter()
    /// Bytes of the bodies of those messages.
    public let telemetryBytesIn = Counter()
    /// Events that were sent to readers.
    public let eventsOut = Counter()
    /// Bytes of those events, as sent.
    public let eventBytesOut = Counter()
    /// Commands that were taken in for devices.
    public let commandsIn = Counter()
    /// Deliveries of commands to devices, the same one perhaps more than once.
    public let commandsOut = Counter()
    /// Commands that ended, in whatever way.
    public let commandsEnded = Counter()
    /// From the reading of a message to its acknowledgement.
    public let acknowledgementLatency = LatencyHistogram()

    private let refusals = Mutex<[String: Int]>([:])

    /// Makes metrics that all stand at zero.
    public init() {}

    /// Counts a refusal by its reason.
    ///
    /// `reason` is one of a small fixed set of words, never text of a peer. Not for the data path.
    public func refused(_ reason: StaticString) {
        refusals.withLock { $0["\(reason)", default: 0] += 1 }
    }

    /// How often each reason was given.
    public var refusalsByReason: [String: Int] { refusals.withLock { $0 } }
}
