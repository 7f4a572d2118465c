// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import NIOCore
import NIOHTTP1

/// Answers a first request that is not HTTP; leaves the pipeline when it is decided what the connection carries.
final class BadFirstRequestHandler: ChannelInboundHandler, RemovableChannelHandler {
    typealias InboundIn = HTTPServerRequestPart
    typealias OutboundOut = HTTPServerResponsePart

    /// The answer to what can't be read: 400, and the end of the connection.
    static let answer = HTTPResponseHead(
        version: .http1_1,
        status: .badRequest,
        headers: HTTPHeaders([("Connection", "close"), ("Content-Length", "0")])
    )

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        let channel = context.channel
        context.write(self.wrapOutboundOut(.head(Self.answer)), promise: nil)
        context.writeAndFlush(self.wrapOutboundOut(.end(nil))).whenComplete { _ in channel.close(promise: nil) }
    }
}

@available(*, unavailable)
extension BadFirstRequestHandler: Sendable {}
