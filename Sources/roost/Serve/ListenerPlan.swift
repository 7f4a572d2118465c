// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import AMQPFront
import HubTransport
import Logging
import NIOCore
import NIOHTTP1

/// Makes the listeners that a configuration asks for.
struct ListenerPlan {
    private typealias Refusal = @Sendable (_ first: ByteBuffer) -> [UInt8]

    let configuration: Configuration
    let limits: TransportLimits
    let gate: ConnectionGate
    let identity: TLSIdentity
    let group: any EventLoopGroup
    let logger: Logger

    /// The listeners with and without TLS.
    func listeners(_ fronts: FrontInitializers) -> [Listener] {
        let ports = configuration.listeners
        var result = [
            tls("mqtts", ports.mqtts, refusal: { _ in Self.mqttRefusal }, fronts.mqtt),
            tls("amqps", ports.amqps, refusal: AMQPFront.refusal(to:), fronts.amqp),
            tls("https", ports.https, refusal: { _ in Self.httpRefusal }, fronts.http),
        ]
        if ports.plain {
            result += [
                plain("mqtt", ports.mqtt, refusal: { _ in Self.mqttRefusal }, fronts.mqtt),
                plain("amqp", ports.amqp, refusal: AMQPFront.refusal(to:), fronts.amqp),
                plain("http", ports.http, refusal: { _ in Self.httpRefusal }, fronts.http),
            ]
        }
        return result
    }

    /// The listener for metrics and health; it has a gate of its own, for it must answer when the hub is full.
    func health(_ pages: HealthHandler.Pages) -> Listener {
        let ports = configuration.listeners
        let settings = ListenerSettings(
            name: "metrics",
            portSetting: "--metrics-port",
            address: ports.metricsAddress,
            port: ports.metrics
        )
        var limits = limits
        limits.connectionsMax = Self.healthConnectionsMax
        return Listener(
            settings,
            limits: limits,
            gate: ConnectionGate(limits: limits),
            group: group,
            logger: logger
        ) { channel in
            channel.eventLoop.makeCompletedFuture {
                let pipeline = channel.pipeline.syncOperations
                try pipeline.configureHTTPServerPipeline(withPipeliningAssistance: true, withErrorHandling: true)
                try pipeline.addHandler(HealthHandler(pages: pages))
            }
        }
    }

    /// Where the listeners without TLS listen: loopback unless somebody says otherwise.
    static func plainAddress(_ listeners: Configuration.Listeners) -> String {
        if !listeners.plainAddress.isEmpty { return listeners.plainAddress }
        let isLoopback = listeners.address.hasPrefix("127.") || listeners.address == "::1"
        return isLoopback ? listeners.address : "127.0.0.1"
    }

    private func tls(
        _ name: String,
        _ port: Int,
        refusal: @escaping Refusal,
        _ front: @escaping FrontInitializers.Initializer
    ) -> Listener {
        var settings = ListenerSettings(
            name: name,
            portSetting: "--\(name)-port",
            address: configuration.listeners.address,
            port: port
        )
        settings.identity = identity
        // A browser on the HTTPS port may ask its user for a certificate.
        settings.requestsClientCertificate = name != "https" || configuration.tls.requestsCertificatesOnHTTPS
        if name == "https" && !configuration.listeners.httpsIsChosen { settings.fallbackPort = 8443 }
        return listener(settings, refusal, front)
    }

    private func plain(
        _ name: String,
        _ port: Int,
        refusal: @escaping Refusal,
        _ front: @escaping FrontInitializers.Initializer
    ) -> Listener {
        let settings = ListenerSettings(
            name: name,
            portSetting: "--\(name)-port",
            address: Self.plainAddress(configuration.listeners),
            port: port
        )
        return listener(settings, refusal, front)
    }

    private func listener(
        _ settings: ListenerSettings,
        _ refusal: @escaping Refusal,
        _ front: @escaping FrontInitializers.Initializer
    ) -> Listener {
        var settings = settings
        settings.refusal = refusal
        settings.announcesAuthentication = true
        return Listener(settings, limits: limits, gate: gate, group: group, logger: logger, initializer: front)
    }

    private static let healthConnectionsMax = 64
    /// CONNACK with return code 3, server unavailable: clients try again later [MQTT-3.2.2-5].
    private static let mqttRefusal: [UInt8] = [0x20, 0x02, 0x00, 0x03]
    private static let httpRefusal = Array(
        "HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nRetry-After: 10\r\nContent-Length: 0\r\n\r\n".utf8
    )
}
