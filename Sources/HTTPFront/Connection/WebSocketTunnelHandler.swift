// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import NIOCore
import NIOWebSocket

/// Makes a WebSocket look like a socket: what arrives in binary frames goes up as bytes, what comes down leaves in them.
///
/// The front above can't tell it from TCP. Frames of one message need no joining, for the bytes are a stream.
final class WebSocketTunnelHandler: ChannelDuplexHandler {
    typealias InboundIn = WebSocketFrame
    typealias InboundOut = ByteBuffer
    typealias OutboundIn = ByteBuffer
    typealias OutboundOut = WebSocketFrame

    private var hasSentClose = false
    private var isQuiescing = false

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        let frame = self.unwrapInboundIn(data)
        // RFC 6455, 5.1: a client masks every frame; extensions were not agreed on.
        guard frame.maskKey != nil, !frame.rsv1, !frame.rsv2, !frame.rsv3 else {
            return self.end(context, .protocolError)
        }
        switch frame.opcode {
        case .binary, .continuation:
            context.fireChannelRead(self.wrapInboundOut(frame.unmaskedData))
        case .ping:
            let pong = WebSocketFrame(fin: true, opcode: .pong, data: frame.unmaskedData)
            context.writeAndFlush(self.wrapOutboundOut(pong), promise: nil)
        case .pong: break
        case .connectionClose:
            var payload = frame.unmaskedData
            self.end(context, payload.readWebSocketErrorCode() ?? .normalClosure)
        default:
            // Text on a binary sub-protocol.
            self.end(context, .protocolError)
        }
    }

    func write(context: ChannelHandlerContext, data: NIOAny, promise: EventLoopPromise<Void>?) {
        let frame = WebSocketFrame(fin: true, opcode: .binary, data: self.unwrapOutboundIn(data))
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
