// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import Hub
import HubModel
import Logging
import MQTT
import NIOCore

/// One connection: bytes to packets, packets to the session rules, their decisions to the hub and to the socket.
///
/// Decodes inside itself, gathers the telemetry of one read into one batch, and writes and flushes once per read and once
/// per batch that became durable. It holds back `read()` while it has more to do than it may: that is the back-pressure.
/// An idle connection holds neither buffers nor tables.
final class MQTTHandler: ChannelDuplexHandler {
    typealias InboundIn = ByteBuffer
    typealias OutboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    let front: MQTTFront
    var machine: SessionMachine
    var context: ChannelHandlerContext?
    /// Nil until signed in.
    var session: DeviceSession?
    var scope: TopicScope?
    /// What the hub knows that the client's filters cover.
    var interests: Directory.Interests = []
    /// Whether subscriptions outlive the connection.
    var keepsSession = false
    var will: Connect.Will?
    /// Whether it announced a model.
    var isPlugAndPlay = false

    /// What was received and is not decoded yet.
    var received = ByteBuffer()
    /// What is to be sent at the end of what is going on.
    var outbound = ByteBuffer()
    /// True while packets are decoded, so that what they cause waits for the end of it.
    var isDecoding = false
    /// True since a `read()` was held back.
    var readIsHeld = false
    /// True once the hub stops: what is under way ends, nothing new begins.
    var isQuiescing = false
    /// True once the connection is being closed.
    var isClosing = false

    /// The telemetry of this read, and how many PUBACKs it owes.
    var batch: TelemetryBatch?
    var batchAcknowledgements = 0
    var bytesInFlight = 0
    var batchesInFlight = 0
    var batchesPublished: UInt64 = 0
    var stall: Stall?
    /// Changes of stored subscriptions, the first of which is under way.
    var storeSteps: [StoreStep] = []
    var commands = CommandFlow()
    /// What was sent since the client stopped taking it.
    var bytesUnread = 0
    /// True once the client has closed: what it sent before is all there will be.
    private var isPeerGone = false

    private var timer: Scheduled<Void>?
    private var timerAt: Duration?
    private var isCounted = false

    init(front: MQTTFront) {
        self.front = front
        machine = SessionMachine(limits: front.limits.connection, now: .zero)
    }

    var now: Duration {
        guard let context else { return .zero }
        return .nanoseconds(Int64(clamping: context.eventLoop.now.uptimeNanoseconds))
    }

    // MARK: Life

    func handlerAdded(context: ChannelHandlerContext) {
        self.context = context
        machine = SessionMachine(limits: front.limits.connection, now: now)
        if context.channel.isActive { begin() }
    }

    func channelActive(context: ChannelHandlerContext) {
        begin()
        context.fireChannelActive()
    }

    private func begin() {
        guard !isCounted else { return }
        isCounted = true
        front.hub.metrics.mqtt.open.add(1)
        front.hub.metrics.mqtt.accepted.add()
        armTimer()
    }

    func channelInactive(context: ChannelHandlerContext) {
        decodeTheRest()
        if !isClosing { logEnd(.peerClosed) }
        finish()
        context.fireChannelInactive()
    }

    func handlerRemoved(context: ChannelHandlerContext) {
        finish()
        self.context = nil
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        // Many clients end their TLS connections without the good-bye of TLS.
        decodeTheRest()
        close(.transport(error))
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        switch event {
        case ChannelEvent.inputClosed:
            decodeTheRest()
            close(.peerClosed)
        case is ChannelShouldQuiesceEvent:
            isQuiescing = true
            closeIfQuiet()
        default: break
        }
        context.fireUserInboundEventTriggered(event)
    }

    /// Closes once all that was taken is acknowledged or answered, when the hub stops.
    func closeIfQuiet() {
        guard isQuiescing, machine.acknowledgements.count == 0, batchesInFlight == 0 else { return }
        // At QoS 0 nothing but the answer is owed for a request about the twin.
        guard session?.hasOpenTwinRequests != true, commands.settling == 0 else { return }
        close(.hub(.shuttingDown))
    }

    // MARK: Bytes

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        guard !isClosing, !isQuiescing else { return }
        var bytes = unwrapInboundIn(data)
        if received.readableBytes == 0 {
            received = bytes
        } else {
            received.writeBuffer(&bytes)
        }
        decode()
    }

    func channelReadComplete(context: ChannelHandlerContext) {
        machine.bytesReceived(now: now)
        publishBatch()
        flush()
        context.fireChannelReadComplete()
    }

    func read(context: ChannelHandlerContext) {
        if mayRead {
            context.read()
        } else if !readIsHeld {
            readIsHeld = true
            // A client that does not take what it is sent is silent for as long as that lasts.
            if context.channel.isWritable { machine.readingPaused(now: now) }
        }
    }

    func channelWritabilityChanged(context: ChannelHandlerContext) {
        let isWritable = context.channel.isWritable
        if isWritable { bytesUnread = 0 }
        if readIsHeld {
            // The same rule as in `read(context:)`, for a connection that was held back by something else before.
            isWritable ? machine.readingPaused(now: now) : machine.readingResumed(now: now)
        }
        resume()
        askForCommands()
        context.fireChannelWritabilityChanged()
    }

    /// Whether more may be taken from the socket.
    private var mayRead: Bool {
        guard !isQuiescing, stall == nil, context?.channel.isWritable ?? false else { return false }
        guard bytesInFlight < front.limits.bytesInFlightMax else { return false }
        if machine.isAuthenticating {
            return received.readableBytes < front.limits.connection.bytesBeforeConnackMax
        }
        return machine.mayDecode
    }

    /// Goes on with what is received already, then with reading, if that may be now.
    func resume() {
        guard !isDecoding, !isClosing, let context else { return }
        if received.readableBytes > 0, stall == nil, !isQuiescing {
            decode()
            publishBatch()
        }
        flush()
        guard readIsHeld, !isClosing, mayRead else { return }
        readIsHeld = false
        machine.readingResumed(now: now)
        context.read()
    }

    private func decode() {
        guard !isDecoding else { return }
        isDecoding = true
        defer { isDecoding = false }
        while machine.mayDecode || isPeerGone && machine.isConnected, !isClosing, stall == nil {
            do throws(MQTTError) {
                guard let header = try FixedHeader.peek(at: received, packetSizeMax: machine.packetSizeMax) else {
                    break
                }
                guard received.readableBytes >= header.packetSize else {
                    makeRoom(for: header)
                    break
                }
                if header.type == .publish {
                    // The C SDK sends property values as they are, and device ids may hold both characters too; what
                    // is not the client's topic closes the connection anyway (docs/wire/mqtt.md, statement 52).
                    publishReceived(try Publish.decode(header, from: &received, toleratesWildcards: true))
                } else {
                    let limits = front.limits.connection
                    packetReceived(
                        try Packet.decode(header, from: &received, limits: limits, toleratesWildcards: true)
                    )
                }
            } catch {
                malformedReceived(error)
            }
        }
        // Gives the read buffer back, so that the channel may use it again.
        if received.readableBytes == 0 || isClosing { received = ByteBuffer() }
    }

    /// Takes what the client sent before it closed and what had to wait for acknowledgements, which nobody waits for now:
    /// messages at QoS 0 may be among it, and the DISCONNECT that discards the will. [MQTT-3.14.4-3]
    private func decodeTheRest() {
        guard !isClosing, !isQuiescing, received.readableBytes > 0 else { return }
        isPeerGone = true
        decode()
        publishBatch()
    }

    /// Makes the buffer as large as the packet that it begins with, once: not with each read that brings a part of it.
    private func makeRoom(for header: FixedHeader) {
        guard received.writableBytes < header.packetSize - received.readableBytes else { return }
        var larger = ByteBufferAllocator().buffer(capacity: header.packetSize)
        larger.writeBuffer(&received)
        received = larger
    }

    // MARK: Time

    /// Asks the session rules what time it is for, and sets the timer to what they say.
    func armTimer() {
        guard let context else { return }
        switch machine.timePassed(now: now) {
        case .rest: break
        case .close(let end): close(.session(end))
        case .refuse(let code): refuse(code)
        case .wake(let at):
            // A timer that fires early asks again; only one that would fire late is replaced.
            if let timerAt, timerAt <= at { return }
            timer?.cancel()
            timerAt = at
            timer = context.eventLoop.assumeIsolated().scheduleTask(deadline: .uptime(at)) { [weak self] in
                self?.timerAt = nil
                self?.armTimer()
            }
        }
    }

    // MARK: End

    /// Refuses a CONNECT and closes; `detail` is for the log only, which may have heard of it already.
    func refuse(
        _ code: Connack.ReturnCode,
        client: IdentityID? = nil,
        detail: String? = nil,
        isLogged: Bool = false
    ) {
        machine.refuse(code)
        Connack(sessionPresent: false, returnCode: code).encode(into: &outbound)
        close(.session(.refused(code)), client: client, detail: detail, isLogged: isLogged)
    }

    /// Ends the connection; what came before the reason is published, and what waits to be sent is sent.
    func close(_ end: ConnectionEnd, client: IdentityID? = nil, detail: String? = nil, isLogged: Bool = false) {
        guard !isClosing, let context else { return }
        isClosing = true
        publishBatch()
        flush()
        machine.connectionLost()
        logEnd(end, client: client, detail: detail, isLogged: isLogged)
        context.close(promise: nil)
    }

    private func logEnd(_ end: ConnectionEnd, client: IdentityID? = nil, detail: String? = nil, isLogged: Bool = false)
    {
        if let refusal = end.refusal { front.hub.metrics.refused(refusal) }
        let level: Logger.Level = end.refusal == nil || isLogged ? .debug : .info
        guard front.hub.logger.logLevel <= level else { return }
        var metadata: Logger.Metadata = ["reason": "\(end)"]
        if let client = session?.identity.id ?? client { metadata["client"] = "\(client)" }
        if let detail { metadata["detail"] = "\(detail)" }
        front.hub.logger.log(level: level, "mqtt connection ended", metadata: metadata)
    }

    /// Gives up all that the connection holds; may be called twice.
    private func finish() {
        isClosing = true
        timer?.cancel()
        timer = nil
        machine.connectionLost()
        publishWill()
        session?.close(isStopping: isQuiescing)
        session = nil
        received = ByteBuffer()
        outbound = ByteBuffer()
        batch = nil
        stall = nil
        storeSteps = []
        commands = CommandFlow()
        if isCounted {
            isCounted = false
            front.hub.metrics.mqtt.open.add(-1)
        }
    }
}

@available(*, unavailable)
extension MQTTHandler: Sendable {}

extension MQTTHandler: DeviceConnection {
    func deliver(_ delivery: Delivery) {
        switch delivery {
        case .disconnect(let reason):
            // Who may no longer speak leaves no last word either, even where the connection is closing already.
            if reason.endsRights { will = nil }
            close(.hub(reason))
        case .desiredPatch(let notice): desiredPatchDelivered(notice)
        case .methodCall(let call): methodCallDelivered(call)
        case .commandsWaiting: commandsMayWait()
        }
    }
}

extension NIODeadline {
    /// A time of `MQTTHandler.now`'s scale.
    fileprivate static func uptime(_ time: Duration) -> NIODeadline {
        let (seconds, attoseconds) = time.components
        return .uptimeNanoseconds(UInt64(clamping: seconds * 1_000_000_000 + attoseconds / 1_000_000_000))
    }
}
