// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import HTTPTypes
import HummingbirdCore
import Logging
import NIOCore
import NIOHTTP1
import NIOHTTPTypes
import NIOHTTPTypesHTTP1
import NIOWebSocket

/// One connection of the HTTPS port: requests for routes, or, decided by the first request, a WebSocket tunnel.
///
/// | state | event | next state |
/// |---|---|---|
/// | undecided | no whole header block in time | closed |
/// | undecided | a request without `Upgrade: websocket` | routes |
/// | undecided | a WebSocket on a known path with a known sub-protocol | tunnel |
/// | undecided | any other WebSocket | refused: 400, closed |
struct UpgradableHTTPChannel: HTTPChannelHandler {
    typealias Connection = NIOAsyncChannel<HTTPRequestPart, HTTPResponsePart>

    enum Value: ServerChildChannelValue {
        case routes(Connection)
        case tunnel(any Channel)
        case refused(any Channel)

        var channel: any Channel {
            switch self {
            case .routes(let connection): connection.channel
            case .tunnel(let channel), .refused(let channel): channel
            }
        }
    }

    let responder: Responder
    private let tunnels: WebSocketTunnels
    private let limits: HTTPFrontLimits

    init(tunnels: WebSocketTunnels, limits: HTTPFrontLimits, responder: @escaping Responder) {
        self.tunnels = tunnels
        self.limits = limits
        self.responder = responder
    }

    /// Sets a connection up and serves it until it ends.
    func install(on channel: any Channel, logger: Logger) -> EventLoopFuture<Void> {
        let decided = self.setup(channel: channel, logger: logger)
        let deadline = channel.eventLoop.scheduleTask(in: self.limits.headerTimeout) { channel.close(promise: nil) }
        decided.whenComplete { result in
            deadline.cancel()
            switch result {
            case .success(.routes(let connection)):
                // Lives as long as the connection, which the listener closes when it stops; nobody else could own it.
                Task(executorPreference: LoopExecutor(channel.eventLoop)) {
                    await self.handle(value: .routes(connection), logger: logger)
                }
            case .success(.tunnel), .success(.refused): break
            case .failure:
                logger.debug("An HTTP connection ended before its first request.")
                channel.close(promise: nil)
            }
        }
        return channel.eventLoop.makeSucceededVoidFuture()
    }

    func setup(channel: any Channel, logger: Logger) -> EventLoopFuture<Value> {
        do {
            let refusal = NIOLoopBoundBox(false, eventLoop: channel.eventLoop)
            var configuration = NIOUpgradableHTTPServerPipelineConfiguration<Value>(
                upgradeConfiguration: NIOTypedHTTPServerUpgradeConfiguration(
                    upgraders: [self.upgrader(refusal)],
                    notUpgradingCompletionHandler: { channel in
                        refusal.value ? Self.refuse(channel) : self.serveRoutes(channel, logger: logger)
                    }
                )
            )
            // The async connection takes one request at a time, and answers errors and checks headers itself.
            configuration.enablePipelining = false
            configuration.enableErrorHandling = false
            configuration.enableResponseHeaderValidation = false
            configuration.decoderConfiguration.maxHeaderFieldSize = self.limits.headerBytesMax
            configuration.decoderConfiguration.maxHeaderListSize = self.limits.headerBytesMax
            configuration.decoderConfiguration.maxHeaderFieldCount = self.limits.headersMax
            let pipeline = channel.pipeline.syncOperations
            let decided = try pipeline.configureUpgradableHTTPServerPipeline(configuration: configuration)
            let upgrades = try pipeline.handler(type: NIOTypedHTTPServerUpgradeHandler<Value>.self)
            try pipeline.addHandler(UpgradeFilterHandler(), position: .before(upgrades))
            try pipeline.addHandler(BadFirstRequestHandler())
            return decided
        } catch {
            return channel.eventLoop.makeFailedFuture(error)
        }
    }

    func handle(value: Value, logger: Logger) async {
        switch value {
        case .routes(let connection): await self.handleHTTP(asyncChannel: connection, logger: logger)
        case .tunnel, .refused: break
        }
    }

    private func serveRoutes(_ channel: any Channel, logger: Logger) -> EventLoopFuture<Value> {
        channel.eventLoop.makeCompletedFuture {
            let pipeline = channel.pipeline.syncOperations
            try Self.forgetFirstRequest(channel)
            try pipeline.addHandler(RequestRulesHandler())
            try pipeline.addHandler(HTTP1ToHTTPServerCodec(secure: true))
            try pipeline.addHandler(RequestPaceHandler(limits: self.limits))
            try pipeline.addHandler(HTTPConnectionStateHandler(idleTimeout: nil, logger: logger))
            return .routes(
                try NIOAsyncChannel(
                    wrappingChannelSynchronously: channel,
                    configuration: .init(isOutboundHalfClosureEnabled: true)
                )
            )
        }
    }

    private func upgrader(_ refusal: NIOLoopBoundBox<Bool>) -> NIOTypedWebSocketServerUpgrader<Value> {
        NIOTypedWebSocketServerUpgrader(
            maxFrameSize: self.limits.webSocketFrameBytesMax,
            shouldUpgrade: { channel, head in
                guard let chosen = self.tunnels.choose(head) else {
                    refusal.value = true
                    return channel.eventLoop.makeSucceededFuture(nil)
                }
                let headers = HTTPHeaders([("Sec-WebSocket-Protocol", chosen.name)])
                return channel.eventLoop.makeSucceededFuture(headers)
            },
            upgradePipelineHandler: { channel, head in
                guard let chosen = self.tunnels.choose(head) else {
                    return channel.eventLoop.makeSucceededFuture(.refused(channel))
                }
                do {
                    try Self.forgetFirstRequest(channel)
                    let pipeline = channel.pipeline.syncOperations
                    let decoder = try pipeline.handler(type: ByteToMessageHandler<WebSocketFrameDecoder>.self)
                    let bound = UnauthenticatedTunnelHandler(bytesMax: self.limits.webSocketBytesBeforeSignInMax)
                    try pipeline.addHandler(bound, position: .before(decoder))
                    try pipeline.addHandler(WebSocketTunnelHandler())
                } catch {
                    return channel.eventLoop.makeFailedFuture(error)
                }
                return chosen.install(channel).map { .tunnel(channel) }
            }
        )
    }

    /// Answers an upgrade that is not to be.
    ///
    /// The upgrade handler has swallowed the head of the request, so no route could answer it any more.
    private static func refuse(_ channel: any Channel) -> EventLoopFuture<Value> {
        channel.write(HTTPServerResponsePart.head(BadFirstRequestHandler.answer), promise: nil)
        channel.writeAndFlush(HTTPServerResponsePart.end(nil)).whenComplete { _ in channel.close(promise: nil) }
        return channel.eventLoop.makeSucceededFuture(.refused(channel))
    }

    private static func forgetFirstRequest(_ channel: any Channel) throws {
        let pipeline = channel.pipeline.syncOperations
        let context = try pipeline.context(handlerType: BadFirstRequestHandler.self)
        pipeline.removeHandler(context: context, promise: nil)
    }
}
