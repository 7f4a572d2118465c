// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

public import MQTT

/// Every bound of the MQTT front, each one a setting.
public struct MQTTFrontLimits: Sendable, Hashable {
    /// Bounds of the codec and of the session rules.
    public var connection = MQTTLimits()
    /// Properties in one property bag; more of them close the connection.
    public var propertiesPerMessageMax = 1_024
    /// Bytes of events of one connection that wait to become durable; at this number the connection is not read.
    public var bytesInFlightMax = 1 << 20
    /// Bytes of events in one batch: a read that brings more is published in parts.
    public var batchBytesMax = 512 * 1024
    /// How long a connection whose messages can't be stored is kept, unread, before it is closed.
    public var stallTimeout = Duration.seconds(30)
    /// How long after a failed append the next attempt is made.
    public var stallRetryDelay = Duration.milliseconds(250)
    /// How long after the hub failed to hand out or settle commands it is asked again.
    public var commandRetryDelay = Duration.milliseconds(250)
    /// Bytes that wait for a client that does not take them; beyond it the connection ends, because what it was to be sent
    /// would be lost or the hub's memory filled.
    public var bytesUnreadMax = 4 << 20
    /// How often a sign-in is begun anew because something was revoked while it ran.
    public var signInAttemptsMax = 3

    /// The defaults.
    public init() {}
}
