// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import NIOCore
import NIOPosix
import NIOSSL

/// How this client makes TCP connections, with TLS unless the address is plain.
struct ClientChannel: Sendable {
    private let bootstrap: @Sendable (any EventLoopGroup) -> ClientBootstrap
    private let address: HubAddress
    private let tls: NIOSSLContext?

    /// Prepares connections to a hub; the TLS context is made once and shared by all of them.
    ///
    /// - Throws: ``HubClientError`` when the certificate authorities cannot be read.
    init(address: HubAddress, connectTimeout: Duration = .seconds(10)) throws(HubClientError) {
        self.address = address
        if address.isPlain {
            self.tls = nil
        } else {
            let configuration = try address.tlsConfiguration()
            do {
                self.tls = try NIOSSLContext(configuration: configuration)
            } catch {
                throw .tlsFailed(host: address.dialHost, port: address.mqttPort, reason: String(describing: error))
            }
        }
        self.bootstrap = { group in
            ClientBootstrap(group: group)
                .connectTimeout(.init(connectTimeout))
                .channelOption(.tcpOption(.tcp_nodelay), value: 1)
        }
    }

    /// Connects and adds what `handler` makes behind TLS.
    ///
    /// - Parameters:
    ///   - group: where the connection lives.
    ///   - port: the port.
    ///   - source: the local address to connect from, or nil for any.
    ///   - handler: makes the one handler of the connection, on its loop.
    /// - Returns: the channel once TCP is connected; TLS may still be shaking hands.
    func connect(
        on group: any EventLoopGroup,
        port: Int,
        from source: SocketAddress? = nil,
        handler: @escaping @Sendable (any Channel) throws -> any ChannelHandler
    ) -> EventLoopFuture<any Channel> {
        var bootstrap = self.bootstrap(group)
        if let source {
            bootstrap = bootstrap.bind(to: source)
        }
        let tls = self.tls
        let name = self.serverName
        return
            bootstrap
            .channelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    if let tls {
                        let client = try NIOSSLClientHandler(context: tls, serverHostname: name)
                        try channel.pipeline.syncOperations.addHandler(client)
                    }
                    try channel.pipeline.syncOperations.addHandler(try handler(channel))
                }
            }
            .connect(host: self.address.dialHost, port: port)
    }

    /// The name for SNI and for checking the certificate; an address has none and is checked as an address.
    private var serverName: String? {
        let name = self.address.bareHostName
        let isAddress = (try? SocketAddress(ipAddress: name, port: 0)) != nil
        return isAddress ? nil : name
    }
}
