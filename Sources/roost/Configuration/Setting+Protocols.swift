// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import AMQP
import AMQPFront
import HTTPFront
import MQTT
import MQTTFront
import NIOCore

extension Setting {
    /// The bounds of each protocol.
    static let protocols: [Setting] = mqtt + amqpConnections + amqpEngine + http

    private static let mqtt: [Setting] = [
        .number(
            "mqtt.packetBytes",
            \.mqtt.connection.packetSizeMax,
            4_096...16_777_216,
            "The largest packet after the sign-in."
        ),
        .number(
            "mqtt.packetBytesBeforeSignIn",
            \.mqtt.connection.packetSizeBeforeConnectMax,
            1_024...1_048_576,
            "The largest packet before the sign-in."
        ),
        .number(
            "mqtt.bytesBeforeSignIn",
            \.mqtt.connection.bytesBeforeConnackMax,
            1_024...16_777_216,
            "Bytes that wait while a sign-in is checked; beyond it the connection is not read."
        ),
        .number(
            "mqtt.filtersPerPacket",
            \.mqtt.connection.filtersPerPacketMax,
            1...10_000,
            "Filters in one SUBSCRIBE."
        ),
        .number("mqtt.filterBytes", \.mqtt.connection.filterBytesMax, 512...65_535, "The longest filter."),
        .number("mqtt.subscriptions", \.mqtt.connection.subscriptionsMax, 1...10_000, "Filters of one connection."),
        .seconds(
            "mqtt.signInSeconds",
            \.mqtt.connection.connectTimeout,
            1...3_600,
            "From connecting to having signed in."
        ),
        .seconds(
            "mqtt.silenceSeconds",
            \.mqtt.connection.silenceMax,
            1...86_400,
            "The longest silence of a client, whatever keep-alive it asked for."
        ),
        .number(
            "mqtt.acknowledgementsPending",
            \.mqtt.connection.acknowledgementsPendingMax,
            1...1_000_000,
            "Messages of one connection that wait for the disk; at this number it is not read."
        ),
        .number(
            "mqtt.outgoingWindow",
            \.mqtt.connection.outgoingWindowMax,
            1...65_535,
            "Messages to one client that wait for its acknowledgement."
        ),
        .number("mqtt.propertiesPerMessage", \.mqtt.propertiesPerMessageMax, 1...65_535, "Properties of one message."),
        .number(
            "mqtt.bytesInFlight",
            \.mqtt.bytesInFlightMax,
            65_536...1_073_741_824,
            "Bytes of one connection that wait for the disk; at this number it is not read."
        ),
        .number("mqtt.batchBytes", \.mqtt.batchBytesMax, 4_096...524_288, "Bytes of one batch of messages."),
        .seconds(
            "mqtt.stallSeconds",
            \.mqtt.stallTimeout,
            1...86_400,
            "How long a connection whose messages can't be stored is kept before it is closed."
        ),
        .milliseconds(
            "mqtt.stallRetryMilliseconds",
            \.mqtt.stallRetryDelay,
            10...60_000,
            "How long after messages could not be stored the next attempt is made."
        ),
        .milliseconds(
            "mqtt.commandRetryMilliseconds",
            \.mqtt.commandRetryDelay,
            10...60_000,
            "How long after commands could not be handed out or settled the next attempt is made."
        ),
        .number(
            "mqtt.signInAttempts",
            \.mqtt.signInAttemptsMax,
            1...100,
            "How often a sign-in is begun anew because something was revoked while it ran."
        ),
        .number(
            "mqtt.bytesUnread",
            \.mqtt.bytesUnreadMax,
            65_536...1_073_741_824,
            "Bytes that wait for a client that does not take them; beyond, the connection ends."
        ),
    ]

    private static let amqpConnections: [Setting] = [
        .number(
            "amqp.bytesBeforeSignIn",
            \.amqp.bytesBeforeSignInMax,
            4_096...16_777_216,
            "Bytes that a connection may send before it has signed in."
        ),
        .number(
            "amqp.framesBeforeSignIn",
            \.amqp.framesBeforeSignInMax,
            16...65_536,
            "Frames that a connection may send before it has signed in."
        ),
        .number("amqp.signInSeconds", \.amqp.signInSecondsMax, 1...3_600, "From the first byte to the sign-in."),
        .number("amqp.tokens", \.amqp.tokensMax, 1...100_000, "Tokens that one connection may hold."),
        .number(
            "amqp.waitingResponses",
            \.amqp.waitingResponsesMax,
            1...65_536,
            "Answers that wait for credit on one link before requests are refused."
        ),
        .number(
            "amqp.waitingResponseBytes",
            \.amqp.waitingResponseBytesMax,
            65_536...1_073_741_824,
            "Bytes of answers that wait for credit on one connection; then no link has more than one more wait."
        ),
        .number(
            "amqp.signInAttempts",
            \.amqp.signInAttemptsMax,
            1...100,
            "How often a sign-in is begun anew because something was revoked while it ran."
        ),
        .number("amqp.telemetryCredit", \.amqp.telemetryCredit, 1...100_000, "Messages under way on one link."),
        .number(
            "amqp.commandsInFlight",
            \.amqp.commandsInFlightMax,
            1...10_000,
            "Commands that are sent to a device ahead of its answers."
        ),
        .number(
            "amqp.commandRetryMilliseconds",
            \.amqp.commandRetryMilliseconds,
            10...60_000,
            "How long after commands could not be handed out the next attempt is made."
        ),
        .number("amqp.propertiesPerMessage", \.amqp.propertiesPerMessageMax, 1...65_535, "Properties of one message."),
        .number(
            "amqp.bytesInFlight",
            \.amqp.bytesInFlightMax,
            65_536...1_073_741_824,
            "Bytes of one connection that wait for the disk; at this number it is not read."
        ),
        .number("amqp.batchBytes", \.amqp.batchBytesMax, 4_096...524_288, "Bytes of one batch of messages."),
        .number("amqp.requestCredit", \.amqp.requestCredit, 1...10_000, "Requests under way on one link."),
        .number(
            "amqp.commandCredit",
            \.amqp.commandCredit,
            2...10_000,
            "Commands of one link on their way to the store."
        ),
        .number(
            "amqp.readBytes",
            \.amqp.readBytesMax,
            4_096...16_777_216,
            "Bytes of events that one read of the log asks for."
        ),
        .number(
            "amqp.eventsPerTurn",
            \.amqp.eventsPerTurnMax,
            1...65_536,
            "Events that one reader is sent before others have their turn."
        ),
        .number(
            "amqp.flushBytes",
            \.amqp.flushBytes,
            1_024...16_777_216,
            "Bytes that are gathered before they are written."
        ),
        .number(
            "amqp.writeStallSeconds",
            \.amqp.writeStallSecondsMax,
            5...86_400,
            "How long a peer may take nothing of what it was sent before its connection is closed."
        ),
        .number(
            "amqp.checkMilliseconds",
            \.amqp.checkMillisecondsMax,
            100...60_000,
            "The longest time between two looks at the clock: how late an expired token may be noticed."
        ),
        .number(
            "amqp.peerIdleMilliseconds",
            \.amqp.engine.peerIdleTimeoutMillisecondsMin,
            10...60_000,
            "The smallest idle time-out of a peer that is obeyed; smaller ones are treated as this."
        ),
    ]

    private static let http: [Setting] = [
        .number("http.headerBytes", \.http.headerBytesMax, 1_024...1_048_576, "The largest header block of a request."),
        .number("http.headers", \.http.headersMax, 8...10_000, "Headers of a request."),
        .number(
            "http.documentBytes",
            \.http.documentBytesMax,
            4_096...16_777_216,
            "The largest body that describes one device."
        ),
        .number("http.bulkBytes", \.http.bulkBytesMax, 65_536...268_435_456, "The largest body of a bulk call."),
        .number(
            "http.headerSeconds",
            \.http.headerTimeout.wholeSeconds,
            1...3_600,
            "How long a request's header block may take."
        ),
        .number(
            "http.bodyBytesPerSecond",
            \.http.bodyBytesPerSecondMin,
            1...1_073_741_824,
            "How slowly a body may come."
        ),
        .number(
            "http.idleSeconds",
            \.http.idleTimeout.wholeSeconds,
            1...86_400,
            "How long a connection may wait for its next request."
        ),
        .number(
            "http.webSocketFrameBytes",
            \.http.webSocketFrameBytesMax,
            65_536...16_777_216,
            "The largest WebSocket frame that is taken."
        ),
        .number(
            "http.webSocketBytesBeforeSignIn",
            \.http.webSocketBytesBeforeSignInMax,
            16_384...16_777_216,
            "Bytes that may come through a WebSocket before its client has signed in."
        ),
    ]

    private static let amqpEngine: [Setting] = [
        .number("amqp.nestingDepth", \.amqp.engine.nestingDepthMax, 4...256, "How deep values may nest."),
        .number("amqp.elements", \.amqp.engine.elementsMax, 256...16_777_216, "Values in one frame or message."),
        .number("amqp.frameBytes", \.amqp.engine.frameBytesMax, 512...16_777_216, "The largest frame that is taken."),
        .number(
            "amqp.frameBytesBeforeOpen",
            \.amqp.engine.frameBytesBeforeOpenMax,
            512...65_536,
            "The largest frame before a connection is open."
        ),
        .number("amqp.channelMax", \.amqp.engine.channelMax, 0...65_535, "The highest channel of a connection."),
        .number("amqp.sessions", \.amqp.engine.sessionsMax, 1...65_536, "Sessions of one connection."),
        .number(
            "amqp.sessionsRefused",
            \.amqp.engine.sessionsRefusedMax,
            0...65_536,
            "Sessions beyond the limit that a connection may leave open before it is closed."
        ),
        .number("amqp.handleMax", \.amqp.engine.handleMax, 0...4_294_967_295, "The highest link handle."),
        .number("amqp.links", \.amqp.engine.linksMax, 1...1_000_000, "Links of one connection."),
        .number(
            "amqp.linksRefused",
            \.amqp.engine.linksRefusedMax,
            0...1_000_000,
            "Links beyond the limit that a connection may leave attached before it is closed."
        ),
        .number("amqp.linkNameBytes", \.amqp.engine.linkNameBytesMax, 16...65_536, "The longest name of a link."),
        .number(
            "amqp.incomingWindow",
            \.amqp.engine.incomingWindow,
            1...1_000_000,
            "Transfers that a session takes at once."
        ),
        .number(
            "amqp.creditOverrun",
            \.amqp.engine.creditOverrunMax,
            0...10_000,
            "Transfers beyond the credit that are tolerated."
        ),
        .number("amqp.messageBytes", \.amqp.engine.messageBytesMax, 1_024...16_777_216, "The largest message."),
        .number(
            "amqp.incompleteDeliveryBytes",
            \.amqp.engine.incompleteDeliveryBytesMax,
            65_536...1_073_741_824,
            "Bytes of messages of one connection whose last frame has not come."
        ),
        .number("amqp.framesPerDelivery", \.amqp.engine.framesPerDeliveryMax, 1...1_000_000, "Frames of one message."),
        .number(
            "amqp.unsettled",
            \.amqp.engine.unsettledMax,
            1...1_000_000,
            "Unsettled messages of each direction and session."
        ),
        .number(
            "amqp.pendingOutgoingBytes",
            \.amqp.engine.pendingOutgoingBytesMax,
            65_536...1_073_741_824,
            "Bytes of messages of one connection that wait for the peer's window."
        ),
        .number(
            "amqp.idleMilliseconds",
            \.amqp.engine.idleTimeoutMilliseconds,
            1_000...86_400_000,
            "The idle time-out that is announced; after twice this silence the connection is closed."
        ),
    ]
}

extension TimeAmount {
    /// The time in whole seconds.
    fileprivate var wholeSeconds: Int64 {
        get { nanoseconds / 1_000_000_000 }
        set { self = .seconds(newValue) }
    }
}
