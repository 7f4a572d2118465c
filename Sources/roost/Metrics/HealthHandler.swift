// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import NIOCore
import NIOHTTP1

/// Answers /metrics, /healthz and /readyz, one request a connection.
final class HealthHandler: ChannelInboundHandler {
    typealias InboundIn = HTTPServerRequestPart
    typealias OutboundOut = HTTPServerResponsePart

    /// What the pages say.
    struct Pages: Sendable {
        var metrics: @Sendable () -> String
        /// Nil when ready, else why not.
        var notReady: @Sendable () -> String?
    }

    private let pages: Pages
    private let timeout: TimeAmount
    private var head: HTTPRequestHead?
    private var deadline: Scheduled<Void>?

    init(pages: Pages, timeout: TimeAmount = .seconds(10)) {
        self.pages = pages
        self.timeout = timeout
    }

    func handlerAdded(context: ChannelHandlerContext) {
        let channel = context.channel
        deadline = context.eventLoop.scheduleTask(in: timeout) { channel.close(promise: nil) }
    }

    func handlerRemoved(context: ChannelHandlerContext) { deadline?.cancel() }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        switch unwrapInboundIn(data) {
        case .head(let head): self.head = head
        case .body: return
        case .end:
            guard let head else { return }
            self.head = nil
            respond(to: head, context)
        }
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        if event is ChannelShouldQuiesceEvent { context.close(promise: nil) }
        context.fireUserInboundEventTriggered(event)
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) { context.close(promise: nil) }

    private func respond(to request: HTTPRequestHead, _ context: ChannelHandlerContext) {
        let (status, type, body) = answer(request)
        var head = HTTPResponseHead(version: .http1_1, status: status)
        head.headers.add(name: "Content-Type", value: type)
        head.headers.add(name: "Content-Length", value: String(body.utf8.count))
        head.headers.add(name: "Connection", value: "close")
        context.write(wrapOutboundOut(.head(head)), promise: nil)
        if request.method != .HEAD {
            context.write(wrapOutboundOut(.body(.byteBuffer(ByteBuffer(string: body)))), promise: nil)
        }
        let channel = context.channel
        context.writeAndFlush(wrapOutboundOut(.end(nil))).whenComplete { _ in channel.close(promise: nil) }
    }

    private func answer(_ request: HTTPRequestHead) -> (HTTPResponseStatus, type: String, body: String) {
        let plain = "text/plain; charset=utf-8"
        guard request.method == .GET || request.method == .HEAD else { return (.methodNotAllowed, plain, "GET only\n") }
        switch request.uri.split(separator: "?", omittingEmptySubsequences: false).first {
        case "/metrics": return (.ok, "text/plain; version=0.0.4; charset=utf-8", pages.metrics())
        case "/healthz": return (.ok, plain, "ok\n")
        case "/readyz":
            if let reason = pages.notReady() { return (.serviceUnavailable, plain, "not ready: \(reason)\n") }
            return (.ok, plain, "ready\n")
        default: return (.notFound, plain, "there are /metrics, /healthz and /readyz\n")
        }
    }
}
