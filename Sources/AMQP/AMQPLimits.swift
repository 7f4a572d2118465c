// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

/// Every bound that the AMQP library keeps against its peer.
public struct AMQPLimits: Sendable, Equatable {
    /// How deep described values, lists, maps and arrays may nest; deeper input is answered with `amqp:decode-error`.
    public var nestingDepthMax = 32

    /// How many values one frame or message may hold when decoded, so that arrays of empty values cannot ask for memory.
    public var elementsMax = 65_536

    /// The largest frame in bytes that is accepted after the peer's open; announced as max-frame-size.
    public var frameBytesMax: UInt32 = 65_536

    /// The largest frame in bytes before the peer's open and in the SASL layer.
    ///
    /// The standard says 512; a SAS token as PLAIN password needs more.
    public var frameBytesBeforeOpenMax: UInt32 = 8_192

    /// The highest channel number, announced as channel-max.
    public var channelMax: UInt16 = 8_191

    /// How many sessions may be begun at once on one connection.
    public var sessionsMax = 1_200

    /// How many sessions beyond ``sessionsMax`` may be refused and not ended by the peer before the connection is closed.
    public var sessionsRefusedMax = 8

    /// The highest link handle, announced as handle-max.
    public var handleMax: UInt32 = 262_143

    /// How many links may be attached at once on one connection.
    public var linksMax = 8_192

    /// How many links beyond ``linksMax`` may be refused and not detached by the peer before the connection is closed.
    public var linksRefusedMax = 64

    /// The longest link name in bytes.
    public var linkNameBytesMax = 1_024

    /// How many transfer frames a session accepts before it must be re-opened by a flow; announced as incoming-window.
    public var incomingWindow: UInt32 = 5_000

    /// How many transfers beyond the granted credit are tolerated: pyamqp sends before it hears of any.
    public var creditOverrunMax: UInt32 = 100

    /// The longest delivery tag in bytes (AMQP 2.8.7).
    public var deliveryTagBytesMax = 32

    /// The largest message in bytes on a link that sets no limit of its own.
    public var messageBytesMax: UInt64 = 1_048_576

    /// How many bytes of unfinished multi-frame deliveries one connection may hold.
    public var incompleteDeliveryBytesMax = 4_194_304

    /// How many frames one delivery may be cut into.
    public var framesPerDeliveryMax = 65_536

    /// How many deliveries of each direction may be unsettled on one session.
    public var unsettledMax = 10_000

    /// How many bytes of outgoing multi-frame deliveries one connection may hold back for session windows.
    public var pendingOutgoingBytesMax = 8_388_608

    /// The idle time-out in milliseconds that is announced; the connection is closed after twice this time of silence.
    public var idleTimeoutMilliseconds: UInt32 = 240_000

    /// The smallest idle time-out in milliseconds of a peer that is obeyed; smaller ones are treated as this.
    public var peerIdleTimeoutMillisecondsMin: UInt32 = 1_000

    /// Limits with the default of every value.
    public init() {}
}
