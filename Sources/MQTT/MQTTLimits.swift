// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

/// Limits of the codec and of one server-side connection.
public struct MQTTLimits: Hashable, Sendable {
    /// Bytes of one whole packet after CONNECT; 262,144 for the message and the rest for its topic (docs/wire/mqtt.md 7.4).
    public var packetSizeMax = 320 * 1024

    /// Bytes of one whole packet before CONNECT was accepted.
    public var packetSizeBeforeConnectMax = 16 * 1024

    /// Bytes that wait undecoded while authentication runs; beyond it the connection is not read.
    public var bytesBeforeConnackMax = 64 * 1024

    /// Filters in one SUBSCRIBE or UNSUBSCRIBE.
    public var filtersPerPacketMax = 64

    /// Bytes of one filter, for an idle connection keeps it; a longer one closes.
    public var filterBytesMax = 2_048

    /// Filters held by one connection; a SUBSCRIBE beyond it closes.
    public var subscriptionsMax = 64

    /// Time from accept to an accepted CONNECT.
    public var connectTimeout = Duration.seconds(60)

    /// The longest silence of a client whatever keep-alive it asked for, 0 included (docs/wire/mqtt.md 3.8).
    public var silenceMax = Duration.seconds(1767)

    /// Acknowledgements that wait for their store; at this number the connection is not read.
    public var acknowledgementsPendingMax = 1024

    /// Unacknowledged QoS 1 PUBLISHes from the server (docs/wire/mqtt.md 8.3).
    public var outgoingWindowMax = 16

    /// All defaults.
    public init() {}
}
