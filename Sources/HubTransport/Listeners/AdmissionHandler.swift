// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import NIOCore
import NIOTLS

/// Watches a new connection until it has signed in, then leaves the pipeline, for an idle connection should be small.
///
/// It sits behind the TLS handler: the end of the handshake comes from one side, the front's `ConnectionAuthenticated` from the
/// other. Its place at the gate is given back when it leaves.
final class AdmissionHandler: ChannelDuplexHandler, RemovableChannelHandler {
    typealias InboundIn = NIOAny
    typealias OutboundIn = NIOAny

    private let gate: ConnectionGate
    private let source: Source
    private let handshakeTimeout: TimeAmount?
    private let waitsForAuthentication: Bool
    private var deadline: Scheduled<Void>?
    private var left = false

    /// `handshakeTimeout` is nil on a plain listener.
    init(gate: ConnectionGate, source: Source, handshakeTimeout: TimeAmount?, waitsForAuthentication: Bool) {
        self.gate = gate
        self.source = source
        self.handshakeTimeout = handshakeTimeout
        self.waitsForAuthentication = waitsForAuthentication
    }

    func handlerAdded(context: ChannelHandlerContext) {
        guard let handshakeTimeout else { return }
        let channel = context.channel
        deadline = context.eventLoop.scheduleTask(in: handshakeTimeout) { channel.close(promise: nil) }
    }

    func handlerRemoved(context: ChannelHandlerContext) { leave() }

    func channelInactive(context: ChannelHandlerContext) {
        leave()
        context.fireChannelInactive()
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        let removes = event is TLSUserEvent && handshakeEnded()
        context.fireUserInboundEventTriggered(event)
        if removes { context.pipeline.syncOperations.removeHandler(context: context, promise: nil) }
    }

    func triggerUserOutboundEvent(context: ChannelHandlerContext, event: Any, promise: EventLoopPromise<Void>?) {
        guard event is ConnectionAuthenticated else {
            return context.triggerUserOutboundEvent(event, promise: promise)
        }
        leave()
        promise?.succeed()
        context.pipeline.syncOperations.removeHandler(context: context, promise: nil)
    }

    private func handshakeEnded() -> Bool {
        deadline?.cancel()
        deadline = nil
        return !waitsForAuthentication
    }

    private func leave() {
        deadline?.cancel()
        deadline = nil
        guard !left else { return }
        left = true
        gate.authenticated(source)
    }
}

/// Tells a client in its own protocol that the hub is full, then closes.
final class RefusalHandler: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    private let answer: (ByteBuffer) -> [UInt8]
    private let timeout: TimeAmount
    private var answered = false
    private var deadline: Scheduled<Void>?

    init(answer: @escaping (ByteBuffer) -> [UInt8], timeout: TimeAmount) {
        self.answer = answer
        self.timeout = timeout
    }

    func handlerAdded(context: ChannelHandlerContext) {
        let channel = context.channel
        deadline = context.eventLoop.scheduleTask(in: timeout) { channel.close(promise: nil) }
    }

    func handlerRemoved(context: ChannelHandlerContext) {
        deadline?.cancel()
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        guard !answered else { return }
        answered = true
        let channel = context.channel
        context.writeAndFlush(wrapOutboundOut(context.channel.allocator.buffer(bytes: answer(unwrapInboundIn(data)))))
            .whenComplete { _ in channel.close(promise: nil) }
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        if event is ChannelShouldQuiesceEvent { context.close(promise: nil) }
        context.fireUserInboundEventTriggered(event)
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) { context.close(promise: nil) }
}
