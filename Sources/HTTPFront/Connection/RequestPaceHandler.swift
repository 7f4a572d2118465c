// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import HTTPTypes
import NIOCore
import NIOHTTPTypes

/// Closes connections whose requests come too slowly, or not at all, and those whose answer says so.
///
/// | state | deadline | then |
/// |---|---|---|
/// | waiting for a head | the idle time-out | close |
/// | reading a body | the header time-out and the bytes so far at the lowest rate | close |
/// | answering | none: it is the hub's time | |
final class RequestPaceHandler: ChannelDuplexHandler {
    typealias InboundIn = HTTPRequestPart
    typealias InboundOut = HTTPRequestPart
    typealias OutboundIn = HTTPResponsePart
    typealias OutboundOut = HTTPResponsePart

    private enum Phase {
        case idle(since: NIODeadline)
        case body(since: NIODeadline, bytes: Int64)
        case answering
    }

    private let limits: HTTPFrontLimits
    private var phase = Phase.answering
    private var closesAfterAnswer = false
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
        case .head: self.enter(.body(since: context.eventLoop.now, bytes: 0), context)
        case .body(let buffer):
            if case .body(let since, let bytes) = self.phase {
                self.phase = .body(since: since, bytes: bytes + Int64(buffer.readableBytes))
            }
        case .end:
            if case .body = self.phase { self.enter(.answering, context) }
        }
        context.fireChannelRead(data)
    }

    func write(context: ChannelHandlerContext, data: NIOAny, promise: EventLoopPromise<Void>?) {
        switch self.unwrapOutboundIn(data) {
        case .head(let head):
            if head.headerFields[.connection] == "close" { self.closesAfterAnswer = true }
        case .body: break
        case .end:
            guard !self.closesAfterAnswer else {
                let channel = context.channel
                // Nobody waits for the rest of a body that is not wanted, nor for the client to hang up.
                let written = promise ?? context.eventLoop.makePromise()
                written.futureResult.whenComplete { _ in channel.close(promise: nil) }
                return context.writeAndFlush(data, promise: written)
            }
            self.enter(.idle(since: context.eventLoop.now), context)
        }
        context.write(data, promise: promise)
    }

    private func enter(_ phase: Phase, _ context: ChannelHandlerContext) {
        self.phase = phase
        self.schedule(context)
    }

    private func deadline() -> NIODeadline? {
        switch self.phase {
        case .idle(let since): since + self.limits.idleTimeout
        case .body(let since, let bytes):
            since + self.limits.headerTimeout + .seconds(bytes / Int64(self.limits.bodyBytesPerSecondMin))
        case .answering: nil
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
