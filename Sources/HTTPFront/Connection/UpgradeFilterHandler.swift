// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import NIOCore
import NIOHTTP1

/// Takes from a first request the wish for another protocol than WebSocket, which a server may ignore (RFC 9110, 7.8).
///
/// NIO's upgrade handler, which stands behind this, swallows the head of a request whose wish it can't grant: clients that
/// ask for `h2c` with their first request, as those of Java and `curl --http2` do, would get no answer.
final class UpgradeFilterHandler: ChannelInboundHandler, RemovableChannelHandler {
    typealias InboundIn = HTTPServerRequestPart
    typealias InboundOut = HTTPServerRequestPart

    private var isFirst = true

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        // After an upgrade what comes is no HTTP any more; by then this is on its way out.
        guard self.isFirst, case .head(var head) = self.unwrapInboundIn(data) else {
            return context.fireChannelRead(data)
        }
        self.isFirst = false
        if !Self.asksForTunnel(head) { head.headers.remove(name: "Upgrade") }
        context.fireChannelRead(self.wrapInboundOut(.head(head)))
        context.pipeline.syncOperations.removeHandler(context: context, promise: nil)
    }

    private static func asksForTunnel(_ head: HTTPRequestHead) -> Bool {
        func lists(_ header: String, _ word: String) -> Bool {
            head.headers[canonicalForm: header].contains { $0.lowercased() == word }
        }
        return lists("Upgrade", "websocket") && lists("Connection", "upgrade")
    }
}

@available(*, unavailable)
extension UpgradeFilterHandler: Sendable {}
