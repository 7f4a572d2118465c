// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import HubTransport
import NIOCore
import NIOHTTP1

/// Sent down the pipeline when a body is wanted: the client may wait for a word before it sends it.
struct BodyWanted: Sendable {}

/// Keeps the rules of a connection of HTTP/1.1 that neither the parser nor the routes know.
///
/// | what | rule |
/// |---|---|
/// | a request without `Host`, or with two | refused (RFC 9112, 3.2) |
/// | a request of HTTP/1.0 with `Transfer-Encoding` | refused (RFC 9112, 6.1) |
/// | `Expect: 100-continue` | 100 once the client has signed in; an answer without it ends the connection (RFC 9110, 10.1.1) |
/// | an answer to HEAD | goes without its body (RFC 9112, 6.3): a client would take it for the next answer |
/// | `Connection: close` in any spelling, HTTP/1.0 | the answer says `close` and is the last one (RFC 9112, 9.6) |
///
/// It also tells the listener, once, that its client has signed in.
final class RequestRulesHandler: ChannelDuplexHandler {
    typealias InboundIn = HTTPServerRequestPart
    typealias InboundOut = HTTPServerRequestPart
    typealias OutboundIn = HTTPServerResponsePart
    typealias OutboundOut = HTTPServerResponsePart

    /// A request whose answer is not written yet.
    private struct Exchange {
        var isHead: Bool
        var keepsAlive: Bool
        var isOld: Bool
        /// Whether the client holds its body back until it is asked for.
        var awaitsWord: Bool
    }

    private var exchanges = CircularBuffer<Exchange>(initialCapacity: 1)
    /// Whether what still comes is read by nobody: a request was refused, or said to be the last.
    private var ignoresRest = false
    private var closesAfterAnswer = false
    private var hasClosed = false
    private var hasSignedIn = false

    // MARK: Requests

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        guard !self.ignoresRest else { return }
        switch self.unwrapInboundIn(data) {
        case .head(let head):
            guard Self.isWellFormed(head) else {
                self.ignoresRest = true
                // Answered as what can't be parsed, after the answers that are due before.
                return context.fireErrorCaught(HTTPParserError.invalidHeaderToken)
            }
            self.exchanges.append(
                Exchange(
                    isHead: head.method == .HEAD,
                    keepsAlive: head.isKeepAlive,
                    isOld: head.version.isOld,
                    awaitsWord: Self.expectsWord(head)
                )
            )
        case .body: self.bodyHasCome()
        case .end:
            self.bodyHasCome()
            self.ignoresRest = self.exchanges.last?.keepsAlive == false
        }
        context.fireChannelRead(data)
    }

    private func bodyHasCome() {
        guard !self.exchanges.isEmpty else { return }
        self.exchanges[self.exchanges.index(before: self.exchanges.endIndex)].awaitsWord = false
    }

    private static func isWellFormed(_ head: HTTPRequestHead) -> Bool {
        let hosts = head.headers["Host"].count
        guard head.version.isOld else { return hosts == 1 }
        return hosts <= 1 && !head.headers.contains(name: "Transfer-Encoding")
    }

    private static func expectsWord(_ head: HTTPRequestHead) -> Bool {
        !head.version.isOld && head.headers[canonicalForm: "Expect"].contains { $0.lowercased() == "100-continue" }
    }

    // MARK: Answers

    func write(context: ChannelHandlerContext, data: NIOAny, promise: EventLoopPromise<Void>?) {
        guard !self.hasClosed else {
            promise?.fail(ChannelError.outputClosed)
            return
        }
        switch self.unwrapOutboundIn(data) {
        case .head(var head):
            let exchange = self.exchanges.first
            let says = head.headers[canonicalForm: "Connection"].contains { $0.lowercased() == "close" }
            self.closesAfterAnswer = says || exchange?.keepsAlive != true || exchange?.awaitsWord == true
            if self.closesAfterAnswer {
                head.headers.replaceOrAdd(name: "Connection", value: "close")
            } else if exchange?.isOld == true {
                head.headers.replaceOrAdd(name: "Connection", value: "keep-alive")
            }
            context.write(self.wrapOutboundOut(.head(head)), promise: promise)
        case .body:
            guard self.exchanges.first?.isHead != true else {
                promise?.succeed()
                return
            }
            context.write(data, promise: promise)
        case .end:
            if !self.exchanges.isEmpty { self.exchanges.removeFirst() }
            guard self.closesAfterAnswer else { return context.write(data, promise: promise) }
            self.hasClosed = true
            let channel = context.channel
            // Nobody waits for the rest of a body that is not wanted, nor for the client to hang up.
            let written = promise ?? context.eventLoop.makePromise()
            written.futureResult.whenComplete { _ in channel.close(promise: nil) }
            context.writeAndFlush(data, promise: written)
        }
    }

    func triggerUserOutboundEvent(context: ChannelHandlerContext, event: Any, promise: EventLoopPromise<Void>?) {
        switch event {
        case is BodyWanted:
            self.askForBody(context)
            promise?.succeed()
        case is ConnectionAuthenticated:
            guard !self.hasSignedIn else {
                promise?.succeed()
                return
            }
            self.hasSignedIn = true
            context.triggerUserOutboundEvent(event, promise: promise)
        default: context.triggerUserOutboundEvent(event, promise: promise)
        }
    }

    private func askForBody(_ context: ChannelHandlerContext) {
        guard self.exchanges.first?.awaitsWord == true else { return }
        self.exchanges[self.exchanges.startIndex].awaitsWord = false
        let word = HTTPResponseHead(version: .http1_1, status: .continue)
        context.writeAndFlush(self.wrapOutboundOut(.head(word)), promise: nil)
    }
}

extension HTTPVersion {
    /// Whether it is older than HTTP/1.1.
    fileprivate var isOld: Bool { self.major < 1 || (self.major == 1 && self.minor == 0) }
}

@available(*, unavailable)
extension RequestRulesHandler: Sendable {}
