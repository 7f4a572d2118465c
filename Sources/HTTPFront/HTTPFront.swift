// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

public import Hub
import HubModel
import HummingbirdCore
public import Logging
public import NIOCore

/// Puts the handlers of a protocol on top of a WebSocket tunnel, as if the tunnel were a socket; called on its loop.
public typealias TunnelInstaller = @Sendable (any Channel) -> EventLoopFuture<Void>

/// The HTTPS port: routes of the service API, and WebSocket tunnels to other fronts.
public struct HTTPFront: Sendable {
    private let connection: UpgradableHTTPChannel
    private let logger: Logger
    private let metrics: HubMetrics.Connections

    /// Makes a front.
    ///
    /// - Parameters:
    ///   - hub: what stands behind the routes
    ///   - registry: the devices of that hub
    ///   - tunnels: what to install by the name of a WebSocket sub-protocol, such as `AMQPWSB10`
    ///   - limits: the bounds of the port
    ///   - logger: where it logs
    public init(
        hub: Hub,
        registry: Registry,
        tunnels: [String: TunnelInstaller] = [:],
        limits: HTTPFrontLimits = HTTPFrontLimits(),
        logger: Logger
    ) {
        let responder = ServiceResponder(hub: hub, registry: registry, limits: limits, logger: logger)
        self.logger = logger
        self.metrics = hub.metrics.http
        self.connection = UpgradableHTTPChannel(
            tunnels: WebSocketTunnels(tunnels, names: hub.names),
            limits: limits
        ) { request, writer, channel in
            let response = await responder.respond(to: request, on: channel)
            try await writer.write(response: response.head, body: response.body)
        }
    }

    /// Puts the handlers of a new connection into its pipeline; called on its loop, behind TLS where there is any.
    public func install(on channel: any Channel) -> EventLoopFuture<Void> {
        let metrics = self.metrics
        metrics.accepted.add(1)
        metrics.open.add(1)
        channel.closeFuture.whenComplete { _ in metrics.open.add(-1) }
        return self.connection.install(on: channel, logger: self.logger)
    }
}
