// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import FoundationEssentials
import HubTransport
import Logging
import NIOCore
import NIOPosix
import NIOSSL
import SwiftASN1
import X509

/// A listener with certificates of its own whose front sends back what it reads.
struct EchoListener {
    let directory: TemporaryDirectory
    let certificates: LocalCertificates
    let identity: TLSIdentity
    let gate: ConnectionGate
    let listener: Listener
    let port: Int

    static let logger = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }

    init(limits: TransportLimits = TransportLimits(), change: (inout ListenerSettings) -> Void = { _ in }) async throws
    {
        directory = try TemporaryDirectory()
        certificates = LocalCertificates(
            directory: directory.path + "/tls",
            names: SubjectNames(configured: ["hub.test"])
        )
        try certificates.ensure(now: .init(), logger: Self.logger)
        identity = try TLSIdentity(TLSSettings(certificate: certificates.serverFiles), limits: limits)
        gate = ConnectionGate(limits: limits)
        var settings = ListenerSettings(name: "test", portSetting: "--test-port", address: "127.0.0.1", port: 0)
        settings.identity = identity
        change(&settings)
        listener = Listener(
            settings,
            limits: limits,
            gate: gate,
            group: MultiThreadedEventLoopGroup.singleton,
            logger: Self.logger
        ) { channel in
            channel.eventLoop.makeCompletedFuture { try channel.pipeline.syncOperations.addHandler(EchoHandler()) }
        }
        try await listener.bind()
        port = listener.port ?? 0
    }

    func stop() async {
        await listener.stop()
        directory.remove()
    }

    /// Opens a connection, does TLS, sends a word and gives what came back, with the connection.
    func exchange(
        _ word: String = "hello",
        serverName: String? = "hub.test",
        from source: String? = nil,
        change: (inout TLSConfiguration) -> Void = { _ in }
    ) async throws -> EchoConnection {
        var configuration = TLSConfiguration.makeClientConfiguration()
        configuration.trustRoots = .file(certificates.authorityFile)
        configuration.certificateVerification = .noHostnameVerification
        change(&configuration)
        let context = try NIOSSLContext(configuration: configuration)
        let answer = MultiThreadedEventLoopGroup.singleton.any().makePromise(of: EchoAnswer.self)
        var bootstrap = ClientBootstrap(group: MultiThreadedEventLoopGroup.singleton).connectTimeout(.seconds(5))
        if let source { bootstrap = bootstrap.bind(to: try SocketAddress(ipAddress: source, port: 0)) }
        let channel = try await bootstrap.channelInitializer { channel in
            channel.eventLoop.makeCompletedFuture {
                let tls = try NIOSSLClientHandler(context: context, serverHostname: serverName)
                try channel.pipeline.syncOperations.addHandler(tls)
                try channel.pipeline.syncOperations.addHandler(AnswerHandler(answer))
            }
        }.connect(host: "127.0.0.1", port: port).get()
        // A refused handshake fails the write as well as the answer: the answer tells.
        channel.writeAndFlush(ByteBuffer(string: word), promise: nil)
        return EchoConnection(channel: channel, answer: try await answer.futureResult.get())
    }
}

struct EchoConnection {
    let channel: any Channel
    let answer: EchoAnswer
}

struct EchoAnswer {
    let text: String
    let certificate: Certificate?
    let version: TLSVersion?
}

/// Sends back what it reads, and closes when told to quiesce.
final class EchoHandler: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        if unwrapInboundIn(data).getString(at: 0, length: 4) == "auth" {
            context.triggerUserOutboundEvent(ConnectionAuthenticated(), promise: nil)
        }
        context.writeAndFlush(data, promise: nil)
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        if event is ChannelShouldQuiesceEvent { context.close(promise: nil) }
        context.fireUserInboundEventTriggered(event)
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) { context.close(promise: nil) }
}

/// Completes a promise with the first thing read, or with the reason for which nothing comes.
private final class AnswerHandler: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    private let promise: EventLoopPromise<EchoAnswer>

    init(_ promise: EventLoopPromise<EchoAnswer>) { self.promise = promise }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        do {
            let tls = try context.pipeline.syncOperations.handler(type: NIOSSLClientHandler.self)
            let leaf = try tls.peerCertificate.map { try Certificate(derEncoded: $0.toDERBytes()) }
            promise.succeed(
                EchoAnswer(text: String(buffer: unwrapInboundIn(data)), certificate: leaf, version: tls.tlsVersion)
            )
        } catch {
            promise.fail(error)
        }
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        promise.fail(error)
        context.close(promise: nil)
    }

    func channelInactive(context: ChannelHandlerContext) {
        promise.fail(ChannelError.inputClosed)
        context.fireChannelInactive()
    }
}

/// Waits until a condition holds; false when it doesn't within some seconds.
func eventually(seconds: Int = 30, _ condition: () throws -> Bool) async throws -> Bool {
    let deadline = ContinuousClock.now + .seconds(seconds)
    while ContinuousClock.now < deadline {
        if try condition() { return true }
        // The condition changes on other threads, which need the processor for that.
        try await Task.sleep(for: .milliseconds(2))
    }
    return false
}
