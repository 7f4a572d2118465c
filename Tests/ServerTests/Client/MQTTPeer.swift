// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import HubClient
import MQTT
import NIOCore
import NIOPosix
import Synchronization

/// The hub's end of MQTT connections, as little as a device needs: it lets in, remembers, and acknowledges.
final class MQTTPeer: Sendable {
    /// What the peer does.
    struct Behaviour: Sendable {
        /// The answer to CONNECT.
        var connack = Connack.ReturnCode.accepted
        /// How many messages it acknowledges; it stays silent after that.
        var acknowledged = Int.max
        /// Whether it closes the connection instead of acknowledging.
        var closesOnPublish = false
        /// Whether it grants subscriptions.
        var grants = true
        /// What it sends once it has granted a subscription.
        var sends: [Publish] = []
    }

    /// What came, over all connections.
    struct Received: Sendable {
        var connects: [Connect] = []
        var publishes: [Publish] = []
        var disconnects = 0
        var filters: [String] = []
        var acknowledgements: [UInt16] = []
    }

    let port: Int
    private let channel: any Channel
    private let log: Log

    var received: Received { self.log.state.withLock { $0 } }

    init(_ behaviour: Behaviour = .init()) async throws {
        let log = Log()
        let channel = try await ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .serverChannelOption(.backlog, value: 256)
            .childChannelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.addHandler(Handler(behaviour, log))
                }
            }
            .bind(host: "127.0.0.1", port: 0).get()
        self.channel = channel
        self.log = log
        self.port = channel.localAddress?.port ?? 0
    }

    deinit {
        self.channel.close(promise: nil)
    }

    /// Stops listening, and returns when the port is free.
    func close() async throws {
        try await self.channel.close()
    }

    /// Where the peer is, under a name of its own.
    var address: HubAddress {
        var address = HubAddress(hostName: "hub.example.com")
        address.connectHost = "127.0.0.1"
        address.isPlain = true
        address.mqttPort = self.port
        return address
    }

    fileprivate final class Log: Sendable {
        let state = Mutex(Received())
    }

    private final class Handler: ChannelInboundHandler {
        typealias InboundIn = ByteBuffer
        typealias OutboundOut = ByteBuffer

        private var behaviour: Behaviour
        private let log: Log
        private var input = ByteBuffer()

        init(_ behaviour: Behaviour, _ log: Log) {
            self.behaviour = behaviour
            self.log = log
        }

        func channelRead(context: ChannelHandlerContext, data: NIOAny) {
            var bytes = self.unwrapInboundIn(data)
            self.input.writeBuffer(&bytes)
            do {
                while let packet = try Packet.decode(from: &self.input, limits: MQTTLimits()) {
                    try self.received(packet, context)
                }
            } catch {
                context.close(promise: nil)
            }
        }

        private func received(_ packet: Packet, _ context: ChannelHandlerContext) throws {
            switch packet {
            case .connect(let connect):
                self.log.state.withLock { $0.connects.append(connect) }
                let answer = Connack(sessionPresent: false, returnCode: self.behaviour.connack)
                try self.send(.connack(answer), context)
            case .publish(let publish):
                self.log.state.withLock { $0.publishes.append(publish) }
                if self.behaviour.closesOnPublish {
                    context.close(promise: nil)
                } else if publish.qos == .atLeastOnce, self.behaviour.acknowledged > 0 {
                    self.behaviour.acknowledged -= 1
                    try self.send(.puback(Puback(packetID: publish.packetID)), context)
                }
            case .subscribe(let subscribe):
                self.log.state.withLock { $0.filters += subscribe.requests.map(\.filter) }
                let code = self.behaviour.grants ? 0 : Suback.failure
                let codes = subscribe.requests.map { _ in code }
                try self.send(.suback(Suback(packetID: subscribe.packetID, returnCodes: codes)), context)
                for publish in self.behaviour.sends {
                    try self.send(.publish(publish), context)
                }
            case .puback(let ack):
                self.log.state.withLock { $0.acknowledgements.append(ack.packetID) }
            case .disconnect:
                self.log.state.withLock { $0.disconnects += 1 }
            default:
                context.close(promise: nil)
            }
        }

        private func send(_ packet: Packet, _ context: ChannelHandlerContext) throws {
            var bytes = ByteBuffer()
            try packet.encode(into: &bytes)
            context.writeAndFlush(self.wrapOutboundOut(bytes), promise: nil)
        }
    }
}

/// Waits until a condition holds, looking again as long as it does not.
///
/// - Throws: ``NeverHappened`` after ten seconds.
func eventually(_ what: String, _ condition: () async throws -> Bool) async throws {
    let deadline = ContinuousClock.now + .seconds(10)
    while try await !condition() {
        guard ContinuousClock.now < deadline else { throw NeverHappened(what: what) }
        try await Task.sleep(for: .milliseconds(2))
    }
}

/// A condition that a test waited for did not come true.
struct NeverHappened: Error {
    let what: String
}
