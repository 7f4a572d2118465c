// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

public import AMQP

/// Every bound of AMQP connections to the hub, each one a setting.
public struct AMQPFrontLimits: Sendable {
    /// The bounds of the protocol engine.
    public var engine = AMQPLimits()
    /// Bytes that a connection may send before it has signed in.
    public var bytesBeforeSignInMax: UInt64 = 131_072
    /// Frames that a connection may send before it has signed in.
    public var framesBeforeSignInMax: UInt64 = 256
    /// Seconds from the first byte to the sign-in.
    public var signInSecondsMax: Int64 = 60
    /// How many tokens one connection may hold.
    public var tokensMax = 1_200
    /// How many answers may wait for credit on one link before requests are refused.
    public var waitingResponsesMax = 256
    /// Bytes of answers that may wait for credit on one connection before links on which some wait are refused more.
    public var waitingResponseBytesMax = 4 << 20
    /// How many requests of one link may wait for their answers.
    public var requestCredit: UInt32 = 100
    /// How many commands of one link may be under way to the store.
    public var commandCredit: UInt32 = 50
    /// How often a sign-in is begun anew because something was revoked while it ran.
    public var signInAttemptsMax = 3
    /// How many messages of telemetry may be under way on one link.
    public var telemetryCredit: UInt32 = 1_000
    /// How many commands are sent to a device ahead of its answers, at most.
    public var commandsInFlightMax = 50
    /// How long after commands could not be read the next attempt is made, in milliseconds.
    public var commandRetryMilliseconds: Int64 = 250
    /// Application properties of one message.
    public var propertiesPerMessageMax = 1_024
    /// Bytes of events of one connection that wait to become durable; at this number the connection is not read.
    public var bytesInFlightMax = 1 << 20
    /// Bytes of events in one batch: a read that brings more is published in parts.
    public var batchBytesMax = 512 * 1024
    /// Bytes of events that one read of the log asks for.
    public var readBytesMax = 262_144
    /// Events that one reader sends before others have their turn.
    public var eventsPerTurnMax = 512
    /// Bytes of output that are gathered before they are written to the socket.
    public var flushBytes = 65_536
    /// Seconds for which a peer may take nothing of what it was sent before its connection is closed.
    public var writeStallSecondsMax: Int64 = 60
    /// The longest time between two looks at the clock, in milliseconds: how late an expired token may be noticed.
    public var checkMillisecondsMax: Int64 = 10_000

    /// The defaults.
    public init() {}
}
