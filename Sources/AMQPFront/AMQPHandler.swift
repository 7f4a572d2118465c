// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import AMQP
import Hub
import HubModel
import HubTransport
import Logging
public import NIOCore

/// One AMQP connection on its event loop: bytes to the engine, the engine's bytes to the socket.
///
/// What the events mean is the business of ``AMQPConnection``; this keeps the channel's side: time, write marks, the
/// bounds before sign-in, and every way in which a connection ends.
public final class AMQPHandler: ChannelDuplexHandler {
    /// Bytes of the peer.
    public typealias InboundIn = ByteBuffer
    /// Nothing is written through this handler.
    public typealias OutboundIn = ByteBuffer
    /// Bytes for the peer.
    public typealias OutboundOut = ByteBuffer

    let front: AMQPFront
    private var context: ChannelHandlerContext?
    private var connection: AMQPConnection?
    private var check: Scheduled<Void>?
    private var isReading = false
    /// True since a `read()` was held back.
    private(set) var readIsHeld = false
    private var hasAnnounced = false
    private var isFlushNeeded = false
    private var isFlushDue = false
    private var certificates: [[UInt8]]?
    private var startMilliseconds: Int64 = 0
    private var writeProgress = WriteProgress()

    init(front: AMQPFront) { self.front = front }

    /// Begins when the channel is active already, as behind an upgrade.
    public func handlerAdded(context: ChannelHandlerContext) {
        if context.channel.isActive { begin(context) }
    }

    /// Frees everything.
    public func handlerRemoved(context: ChannelHandlerContext) { finish() }

    /// Begins.
    public func channelActive(context: ChannelHandlerContext) {
        begin(context)
        context.fireChannelActive()
    }

    /// Frees everything: readers of a connection that vanished must not count against anybody's limit.
    public func channelInactive(context: ChannelHandlerContext) {
        finish()
        context.fireChannelInactive()
    }

    private func begin(_ context: ChannelHandlerContext) {
        guard connection == nil, self.context == nil else { return }
        self.context = context
        startMilliseconds = now
        connection = AMQPConnection(handler: self, eventLoop: context.eventLoop, now: now)
        front.opened(self, eventLoop: context.eventLoop)
        scheduleCheck()
    }

    private func finish() {
        guard context != nil else { return }
        check?.cancel()
        check = nil
        front.closed(self)
        connection?.close()
        connection = nil
        context = nil
    }

    /// Milliseconds of the loop's clock.
    var now: Int64 {
        guard let context else { return startMilliseconds }
        return Int64(context.eventLoop.now.uptimeNanoseconds / 1_000_000)
    }

    // MARK: Bytes

    /// Takes bytes and answers what they say; what is to be sent leaves at the end of the read.
    public func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        guard let connection else { return }
        isReading = true
        connection.engine.receive(unwrapInboundIn(data), now: now)
        connection.handleEvents()
        checkBeforeSignIn()
        endIfClosed()
    }

    /// Sends what the read has brought about.
    public func channelReadComplete(context: ChannelHandlerContext) {
        isReading = false
        flush()
        context.fireChannelReadComplete()
    }

    /// Reads no more from a peer that does not take what it is sent, for nearly all that it says has an answer; nor from
    /// one that has more on its way to the log than it may.
    public func read(context: ChannelHandlerContext) {
        guard !mayRead, let connection else {
            context.read()
            return
        }
        readIsHeld = true
        connection.engine.readingPaused()
    }

    private var mayRead: Bool {
        guard let context else { return false }
        return context.channel.isWritable && !(connection?.budget.isUsedUp ?? false)
    }

    /// Reads on if that may be now.
    func resumeReading() {
        guard readIsHeld, mayRead, let context else { return }
        readIsHeld = false
        connection?.engine.readingResumed(now: now)
        context.read()
    }

    /// Reads and sends on when the socket has taken what it was given.
    public func channelWritabilityChanged(context: ChannelHandlerContext) {
        if context.channel.isWritable {
            // First, so that a peer with a long way to go through its events is heard in between.
            resumeReading()
            connection?.pumpAll()
            flush()
        }
        context.fireChannelWritabilityChanged()
    }

    /// Whether the socket takes more.
    var isWritable: Bool { context?.channel.isWritable ?? false }

    /// Sends what is gathered.
    func flush() {
        write()
        guard isFlushNeeded else { return }
        isFlushNeeded = false
        context?.flush()
    }

    /// Ends one write, such as one record of TLS, with what is gathered; it leaves with the next flush.
    func write() {
        guard let context, let connection, connection.engine.hasOutput else { return }
        let bytes = connection.engine.takeOutput(now: now)
        writeProgress.written += bytes.readableBytes
        isFlushNeeded = true
        context.write(wrapOutboundOut(bytes), promise: nil)
    }

    /// Sends what is gathered unless a read that goes on will do so.
    func flushUnlessReading() {
        if !isReading { flush() }
    }

    /// Sends what is gathered when the loop is done with what it does now: many things complete together.
    func flushSoon() {
        guard !isReading, !isFlushDue else { return }
        isFlushDue = true
        later { [weak self] in
            self?.isFlushDue = false
            self?.flush()
        }
    }

    /// Goes on with what was received already after something that it had to wait for, and sends what that brings about.
    func proceed() {
        guard !isReading, let connection else { return }
        isReading = true
        connection.handleEvents()
        isReading = false
        checkBeforeSignIn()
        flush()
        endIfClosed()
    }

    /// The certificates that the peer presented, in DER form, its own first.
    var peerCertificates: [[UInt8]] {
        if let certificates { return certificates }
        let found = context.map { front.peerCertificates($0.channel) } ?? []
        certificates = found
        return found
    }

    /// Runs something on a later turn of the loop.
    func later(_ body: @escaping () -> Void) {
        context?.eventLoop.assumeIsolated().execute(body)
    }

    /// Runs something after a while, where the connection is still there.
    func later(milliseconds: Int64, _ body: @escaping () -> Void) {
        context?.eventLoop.assumeIsolated().scheduleTask(in: .milliseconds(milliseconds)) { [weak self] in
            guard self?.connection != nil else { return }
            body()
        }
    }

    /// Tells the gate that the peer has signed in.
    func announceSignIn() {
        guard !hasAnnounced, let context else { return }
        hasAnnounced = true
        front.hub.metrics.amqp.signedIn.add()
        context.triggerUserOutboundEvent(ConnectionAuthenticated(), promise: nil)
    }

    // MARK: Time and bounds

    private func scheduleCheck() {
        guard let context, let connection else { return }
        let delay = min(connection.engine.timeCheckMilliseconds, front.limits.checkMillisecondsMax)
        check = context.eventLoop.assumeIsolated().scheduleTask(in: .milliseconds(delay)) { [weak self] in
            self?.timePassed()
        }
    }

    /// Looks at the clock sooner from now on when the peer wants heartbeats.
    func rescheduleCheck() {
        check?.cancel()
        scheduleCheck()
    }

    private func timePassed() {
        guard let connection else { return }
        if !connection.access.hasSignedIn, now - startMilliseconds > front.limits.signInSecondsMax * 1000 {
            refuse(
                "The connection did not sign in within \(front.limits.signInSecondsMax) seconds.",
                "amqp sign-in time"
            )
            return
        }
        guard !closeIfStalled() else { return }
        connection.removeEndedAccess()
        if connection.engine.timePassed(now: now) == .timedOut {
            log("amqp connection closed: the peer is silent")
        }
        flush()
        endIfClosed()
        scheduleCheck()
    }

    /// Closes where the peer has taken nothing for too long: it cannot be told anything either.
    private func closeIfStalled() -> Bool {
        guard let context, let options = context.channel.syncOptions else { return false }
        let waiting: Int
        do {
            waiting = try options.getOption(.bufferedWritableBytes)
        } catch {
            return false
        }
        let seconds = writeProgress.stalledMilliseconds(waiting: waiting, now: now) / 1000
        guard seconds >= front.limits.writeStallSecondsMax else { return false }
        front.hub.metrics.refused("amqp stalled")
        log("amqp connection closed: the peer has taken nothing of \(waiting) bytes for \(seconds) seconds")
        finish()
        context.close(promise: nil)
        return true
    }

    private func checkBeforeSignIn() {
        guard let connection, !connection.access.hasSignedIn, !connection.engine.isClosed else { return }
        let engine = connection.engine
        guard
            engine.bytesReceived > front.limits.bytesBeforeSignInMax
                || engine.framesReceived > front.limits.framesBeforeSignInMax
        else { return }
        refuse("The connection sent too much before it signed in.", "amqp sign-in size")
    }

    private func refuse(_ text: String, _ reason: StaticString) {
        front.hub.metrics.refused(reason)
        connection?.engine.close(AMQPError(.connectionForced, text))
        log("amqp connection closed: \(text)")
        endIfClosed()
    }

    /// Lets the connection look again at what it rests on.
    func recheckAccess() {
        connection?.removeEndedAccess(policiesChanged: true)
        flush()
        endIfClosed()
    }

    func log(_ text: String) {
        let peer = context?.remoteAddress.map { "\($0)" } ?? "unknown"
        front.hub.logger.info("\(text)", metadata: ["peer": "\(peer)"])
    }

    // MARK: Ends

    /// Cuts the connection without a word.
    func cut() {
        let context = context
        finish()
        context?.close(promise: nil)
    }

    /// Closes the channel behind the last bytes when the engine has closed.
    private func endIfClosed() {
        guard let context, let connection, connection.engine.isClosed else { return }
        connection.close()
        let bytes = connection.engine.takeOutput(now: now)
        guard bytes.readableBytes > 0 else {
            context.close(promise: nil)
            return
        }
        let channel = context.channel
        context.writeAndFlush(wrapOutboundOut(bytes)).whenComplete { _ in channel.close(promise: nil) }
    }

    /// Ends the connection in order when the hub stops, and at once when the peer has stopped sending.
    public func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        switch event {
        case is ChannelShouldQuiesceEvent:
            connection?.engine.close(AMQPError(.connectionForced, "The hub is shutting down; connect again later."))
            if connection?.engine.isClosed == true { endIfClosed() } else { context.close(promise: nil) }
        case ChannelEvent.inputClosed:
            finish()
            context.close(promise: nil)
        default: break
        }
        context.fireUserInboundEventTriggered(event)
    }

    /// Closes: after an error of the channel there is nobody to tell.
    public func errorCaught(context: ChannelHandlerContext, error: any Error) {
        front.hub.logger.debug("amqp connection failed", metadata: ["error": "\(error)"])
        finish()
        context.close(promise: nil)
    }
}

@available(*, unavailable)
extension AMQPHandler: Sendable {}
