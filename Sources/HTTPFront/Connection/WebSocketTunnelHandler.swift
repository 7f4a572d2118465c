// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import NIOCore
import NIOWebSocket

/// Makes a WebSocket look like a socket: what arrives in binary frames goes up as bytes, what comes down leaves in them.
///
/// The front above can't tell it from TCP. Frames of one message need no joining, for the bytes are a stream; but they
/// must come as RFC 6455, 5.4 has them.
final class WebSocketTunnelHandler: ChannelDuplexHandler {
    typealias InboundIn = WebSocketFrame
    typealias InboundOut = ByteBuffer
    typealias OutboundIn = ByteBuffer
    typealias OutboundOut = WebSocketFrame

    /// Some of the SDKs for Java take no larger message (docs/wire/amqp.md#headers-and-sasl).
    static let messageBytesMax = 65_536

    /// Whether a message has begun whose last frame has not come.
    private var isInMessage = false
    private var hasSentClose = false
    private var isQuiescing = false
    /// The latest ping that could not be answered yet, for the client doesn't read.
    private var unansweredPing: ByteBuffer?

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        let frame = self.unwrapInboundIn(data)
        // RFC 6455, 5.1: a client masks every frame; extensions were not agreed on.
        guard frame.maskKey != nil, !frame.rsv1, !frame.rsv2, !frame.rsv3 else {
            return self.end(context, .protocolError)
        }
        switch frame.opcode {
        case .binary where !self.isInMessage, .continuation where self.isInMessage:
            self.isInMessage = !frame.fin
            context.fireChannelRead(self.wrapInboundOut(frame.unmaskedData))
        case .ping:
            // Only the latest of several needs an answer (RFC 6455, 5.5.3): who pings and doesn't read fills no memory.
            self.unansweredPing = frame.unmaskedData
            self.answerPing(context)
        case .pong: break
        case .connectionClose:
            self.end(context, Self.answer(toClose: frame.unmaskedData))
        default:
            // Text on a binary sub-protocol, or a frame that may not follow the one before it.
            self.end(context, .protocolError)
        }
    }

    /// The code that answers a closing frame: the peer's own, if it is one that may be sent. (RFC 6455, 5.5.1 and 7.4)
    private static func answer(toClose payload: ByteBuffer) -> WebSocketErrorCode {
        var payload = payload
        guard payload.readableBytes > 0 else { return .normalClosure }
        guard let code = payload.readWebSocketErrorCode() else { return .protocolError }
        switch UInt16(webSocketErrorCode: code) {
        case 1000...1003, 1007...1014, 3000...4999: return code
        default: return .protocolError
        }
    }

    func channelWritabilityChanged(context: ChannelHandlerContext) {
        self.answerPing(context)
        context.fireChannelWritabilityChanged()
    }

    private func answerPing(_ context: ChannelHandlerContext) {
        guard context.channel.isWritable, let data = self.unansweredPing else { return }
        self.unansweredPing = nil
        let pong = WebSocketFrame(fin: true, opcode: .pong, data: data)
        context.writeAndFlush(self.wrapOutboundOut(pong), promise: nil)
    }

    func write(context: ChannelHandlerContext, data: NIOAny, promise: EventLoopPromise<Void>?) {
        var rest = self.unwrapOutboundIn(data)
        while rest.readableBytes > Self.messageBytesMax, let part = rest.readSlice(length: Self.messageBytesMax) {
            context.write(self.wrapOutboundOut(WebSocketFrame(fin: true, opcode: .binary, data: part)), promise: nil)
        }
        let frame = WebSocketFrame(fin: true, opcode: .binary, data: rest)
        context.write(self.wrapOutboundOut(frame), promise: promise)
    }

    func close(context: ChannelHandlerContext, mode: CloseMode, promise: EventLoopPromise<Void>?) {
        guard mode == .all else { return context.close(mode: mode, promise: promise) }
        self.sendClose(context, self.isQuiescing ? .goingAway : .normalClosure)
        context.close(promise: promise)
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        switch event {
        case ChannelEvent.inputClosed:
            // The listener allows half-closure; a tunnel has no use for half a connection.
            context.close(promise: nil)
        case is ChannelShouldQuiesceEvent:
            self.isQuiescing = true
            context.fireUserInboundEventTriggered(event)
        default:
            context.fireUserInboundEventTriggered(event)
        }
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        context.fireErrorCaught(error)
        self.end(context, .protocolError)
    }

    private func end(_ context: ChannelHandlerContext, _ code: WebSocketErrorCode) {
        self.sendClose(context, code)
        context.close(promise: nil)
    }

    private func sendClose(_ context: ChannelHandlerContext, _ code: WebSocketErrorCode) {
        guard !self.hasSentClose else { return }
        self.hasSentClose = true
        var payload = context.channel.allocator.buffer(capacity: 2)
        payload.write(webSocketErrorCode: code)
        let frame = WebSocketFrame(fin: true, opcode: .connectionClose, data: payload)
        context.writeAndFlush(self.wrapOutboundOut(frame), promise: nil)
    }
}

@available(*, unavailable)
extension WebSocketTunnelHandler: Sendable {}
