// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import HubTransport
import NIOCore
import NIOWebSocket

/// Bounds what comes through a WebSocket before its peer has signed in, then leaves the pipeline.
///
/// It sits before the decoder, which keeps what it has of a frame until all of it is there: without a bound every
/// stranger could have a whole frame of the largest size kept.
final class UnauthenticatedTunnelHandler: ChannelDuplexHandler, RemovableChannelHandler {
    typealias InboundIn = ByteBuffer
    typealias OutboundIn = NIOAny

    private var bytesLeft: Int

    init(bytesMax: Int) {
        self.bytesLeft = bytesMax
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        // What comes after the error is dropped: the connection is being closed.
        guard self.bytesLeft >= 0 else { return }
        self.bytesLeft -= self.unwrapInboundIn(data).readableBytes
        guard self.bytesLeft >= 0 else { return context.fireErrorCaught(NIOWebSocketError.invalidFrameLength) }
        context.fireChannelRead(data)
    }

    func triggerUserOutboundEvent(context: ChannelHandlerContext, event: Any, promise: EventLoopPromise<Void>?) {
        context.triggerUserOutboundEvent(event, promise: promise)
        guard event is ConnectionAuthenticated else { return }
        context.pipeline.syncOperations.removeHandler(context: context, promise: nil)
    }
}

@available(*, unavailable)
extension UnauthenticatedTunnelHandler: Sendable {}
