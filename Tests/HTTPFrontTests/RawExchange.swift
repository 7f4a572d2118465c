// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import NIOCore
import NIOPosix

extension TestHub {
    /// Sends bytes and returns what comes back until the server closes, or says `stop`.
    ///
    /// - Throws: `ChannelError.eof` where neither happens for long
    func exchange(_ parts: [[UInt8]], until stop: String? = nil) async throws -> String {
        let loop = MultiThreadedEventLoopGroup.singleton.next()
        let promise = loop.makePromise(of: String.self)
        let timeout = loop.scheduleTask(in: .seconds(20)) { promise.fail(ChannelError.eof) }
        let channel: any Channel
        do {
            channel = try await ClientBootstrap(group: loop)
                .channelInitializer { channel in
                    channel.eventLoop.makeCompletedFuture {
                        try channel.pipeline.syncOperations.addHandler(Collector(promise, stop: stop))
                    }
                }
                .connect(host: "127.0.0.1", port: self.port).get()
        } catch {
            promise.fail(error)
            throw error
        }
        // A server that has closed by now ends the exchange all the same: what counts is what it said.
        for part in parts { channel.writeAndFlush(ByteBuffer(bytes: part), promise: nil) }
        defer {
            timeout.cancel()
            channel.close(promise: nil)
        }
        return try await promise.futureResult.get()
    }
}

/// Collects what a server sends until it closes.
private final class Collector: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer

    private let promise: EventLoopPromise<String>
    private var bytes = ByteBuffer()
    private let stop: String?

    init(_ promise: EventLoopPromise<String>, stop: String?) {
        self.promise = promise
        self.stop = stop
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        var buffer = self.unwrapInboundIn(data)
        self.bytes.writeBuffer(&buffer)
        let text = String(decoding: self.bytes.readableBytesView, as: UTF8.self)
        if let stop, text.contains(stop) { self.promise.succeed(text) }
    }

    func channelInactive(context: ChannelHandlerContext) {
        self.promise.succeed(String(decoding: self.bytes.readableBytesView, as: UTF8.self))
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) { context.close(promise: nil) }
}
