// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import NIOCore
import NIOHTTPTypes

/// Closes connections whose requests come too slowly, or not at all, and those that don't read their answers.
///
/// | state | deadline | then |
/// |---|---|---|
/// | no request without its answer | the idle time-out | close |
/// | reading a body | the header time-out and the bytes so far at the lowest rate | close |
/// | answering | none: it is the hub's time | |
/// | the socket takes no more of an answer | the idle time-out | close |
final class RequestPaceHandler: ChannelDuplexHandler {
    typealias InboundIn = HTTPRequestPart
    typealias InboundOut = HTTPRequestPart
    typealias OutboundIn = HTTPResponsePart
    typealias OutboundOut = HTTPResponsePart

    private struct Body {
        let since: NIODeadline
        var bytes: Int64 = 0
    }

    private let limits: HTTPFrontLimits
    /// Requests whose answer is not written yet; more than one where a client doesn't wait.
    private var unanswered = 0
    /// When the last answer was written.
    private var idleSince: NIODeadline?
    private var body: Body?
    private var stalledSince: NIODeadline?
    private var timer: Scheduled<Void>?
    private var timerAt: NIODeadline?

    init(limits: HTTPFrontLimits) {
        self.limits = limits
    }

    func handlerRemoved(context: ChannelHandlerContext) {
        self.timer?.cancel()
        self.timer = nil
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        switch self.unwrapInboundIn(data) {
        case .head:
            self.unanswered += 1
            self.body = Body(since: context.eventLoop.now)
            self.schedule(context)
        case .body(let buffer): self.body?.bytes += Int64(buffer.readableBytes)
        case .end: self.body = nil
        }
        context.fireChannelRead(data)
    }

    func write(context: ChannelHandlerContext, data: NIOAny, promise: EventLoopPromise<Void>?) {
        if case .end = self.unwrapOutboundIn(data) {
            self.unanswered = max(0, self.unanswered - 1)
            self.idleSince = context.eventLoop.now
            self.schedule(context)
        }
        context.write(data, promise: promise)
    }

    func channelWritabilityChanged(context: ChannelHandlerContext) {
        self.stalledSince = context.channel.isWritable ? nil : context.eventLoop.now
        self.schedule(context)
        context.fireChannelWritabilityChanged()
    }

    private func deadline() -> NIODeadline? {
        if let stalledSince { return stalledSince + self.limits.idleTimeout }
        // The rest of a body whose answer is written interests nobody: it has the time of an idle connection.
        if self.unanswered == 0 { return self.idleSince.map { $0 + self.limits.idleTimeout } }
        return self.body.map { body in
            let seconds = body.bytes / Int64(self.limits.bodyBytesPerSecondMin)
            return body.since + self.limits.headerTimeout + .seconds(seconds)
        }
    }

    /// A timer that fires early asks again; only one that would fire late is replaced.
    ///
    /// To cancel one costs a look at all timers of the loop, those of all idle devices among them.
    private func schedule(_ context: ChannelHandlerContext) {
        guard let deadline = self.deadline() else { return }
        if let timerAt = self.timerAt, timerAt <= deadline { return }
        self.timer?.cancel()
        self.timerAt = deadline
        let loopBound = NIOLoopBound((self, context), eventLoop: context.eventLoop)
        self.timer = context.eventLoop.scheduleTask(deadline: deadline) {
            let (handler, context) = loopBound.value
            handler.timerFired(context)
        }
    }

    private func timerFired(_ context: ChannelHandlerContext) {
        self.timer = nil
        self.timerAt = nil
        guard let deadline = self.deadline() else { return }
        guard deadline <= context.eventLoop.now else { return self.schedule(context) }
        context.close(promise: nil)
    }
}

@available(*, unavailable)
extension RequestPaceHandler: Sendable {}
