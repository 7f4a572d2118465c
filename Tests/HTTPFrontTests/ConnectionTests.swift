// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import HTTPFront
import NIOCore
import Testing

/// What happens below the routes: pace, sizes, framing, and tunnels; spoken in raw bytes.
struct ConnectionTests {
    private func exchange(_ test: TestHub, _ text: String, until stop: String? = nil) async throws -> String {
        try await test.exchange([Array(text.utf8)], until: stop)
    }

    private func exchange(_ test: TestHub, _ parts: [[UInt8]], until stop: String? = nil) async throws -> String {
        try await test.exchange(parts, until: stop)
    }

    private func upgrade(_ path: String, _ name: String, _ extra: String = "") -> String {
        """
        GET \(path) HTTP/1.1\r\nHost: hub.example.com\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
        Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\
        Sec-WebSocket-Protocol: \(name)\r\n\(extra)\r\n
        """
    }

    /// A protocol that sends back what it gets.
    private final class Echo: ChannelInboundHandler {
        typealias InboundIn = ByteBuffer
        typealias OutboundOut = ByteBuffer

        func channelRead(context: ChannelHandlerContext, data: NIOAny) {
            context.writeAndFlush(self.wrapOutboundOut(self.unwrapInboundIn(data)), promise: nil)
        }

        func errorCaught(context: ChannelHandlerContext, error: any Error) {}
    }

    private static let echo: [String: TunnelInstaller] = [
        "AMQPWSB10": { channel in
            channel.eventLoop.makeCompletedFuture { try channel.pipeline.syncOperations.addHandler(Echo()) }
        }
    ]

    /// A masked frame of a client.
    private func frame(_ first: UInt8, _ payload: String) -> [UInt8] {
        let mask: [UInt8] = [1, 2, 3, 4]
        let masked = payload.utf8.enumerated().map { $0.element ^ mask[$0.offset % 4] }
        return [first, 0x80 | UInt8(payload.utf8.count)] + mask + masked
    }

    @Test func `security 053 a slow head and a slow body are cut`() async throws {
        var limits = HTTPFrontLimits()
        limits.headerTimeout = .seconds(1)
        limits.idleTimeout = .seconds(1)
        try await TestHub.with(limits: limits) { test in
            #expect(try await self.exchange(test, "") == "")
            #expect(try await self.exchange(test, "GET /devices HTTP/1.1\r\nHost: h\r\nX-Slow: ") == "")
            let token = test.token("iothubowner")
            let head = "PUT /devices/d?api-version=1 HTTP/1.1\r\nHost: h\r\nAuthorization: \(token)\r\n"
            let slow = try await self.exchange(test, head + "Content-Length: 10\r\n\r\n{")
            #expect(!slow.contains("200 OK"))
            let idle = try await self.exchange(test, head + "Content-Length: 2\r\n\r\n{}")
            #expect(idle.contains("200 OK"))
        }
    }

    @Test func `security 053 heads and bodies over the limit are refused`() async throws {
        var limits = HTTPFrontLimits()
        limits.documentBytesMax = 64
        try await TestHub.with(limits: limits) { test in
            let token = test.token("iothubowner")
            let head = "PUT /devices/d?api-version=1 HTTP/1.1\r\nHost: h\r\nAuthorization: \(token)\r\n"
            let announced = try await self.exchange(test, head + "Content-Length: 65\r\n\r\n")
            #expect(announced.contains("413 ") && announced.contains("GenericRequestEntityTooLarge"))
            let chunk = "41\r\n" + String(repeating: "x", count: 65) + "\r\n0\r\n\r\n"
            let chunked = try await self.exchange(
                test,
                head + "Transfer-Encoding: chunked\r\n\r\n" + chunk,
                until: "Exception"
            )
            #expect(chunked.contains("413 "))
            let long = try await self.exchange(
                test,
                "GET / HTTP/1.1\r\nX: \(String(repeating: "a", count: 40_000))\r\n\r\n"
            )
            #expect(!long.contains("200 OK"))
            let zipped = try await self.exchange(
                test,
                head + "Content-Encoding: gzip\r\nContent-Length: 2\r\n\r\n{}",
                until: "Exception"
            )
            #expect(zipped.contains("415 "))
        }
    }

    @Test func `security 053 ambiguous framing is refused`() async throws {
        try await TestHub.with { test in
            let bodies = [
                "Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
                "Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}",
                "Content-Length: -1\r\n\r\n", "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", " obs: fold\r\n\r\n",
            ]
            for body in bodies {
                let token = test.token("iothubowner")
                let head =
                    "PUT /devices/d?api-version=1 HTTP/1.1\r\nHost: h\r\nConnection: close\r\nAuthorization: \(token)\r\n"
                let answer = try await self.exchange(test, head + body)
                #expect(!answer.contains("200 OK"), "\(body)")
            }
            let garbage = try await self.exchange(test, "\u{16}\u{3}\u{1}garbage\r\n\r\n")
            #expect(!garbage.contains("200"))
        }
    }

    @Test func `requests that arrive together are answered in order`() async throws {
        try await TestHub.with { test in
            let token = test.token("iothubowner")
            let rest = "?api-version=1 HTTP/1.1\r\nHost: h\r\nAuthorization: \(token)\r\n"
            let text =
                "PUT /devices/d\(rest)Content-Length: 2\r\n\r\n{}" + "GET /devices/d\(rest)\r\n"
                + "DELETE /devices/d\(rest)Connection: close\r\n\r\n"
            let answer = try await self.exchange(test, text)
            // A body has no line end, so the next status line follows it at once.
            let statuses = answer.split(separator: "HTTP/1.1 ").map { $0.prefix(3) }
            #expect(statuses == ["200", "200", "204"])
        }
    }

    @Test func `security 029 a tunnel opens at the known paths with and without the Java client's query`() async throws
    {
        try await TestHub.with(tunnels: Self.echo) { test in
            for path in [
                "/$iothub/websocket", "/$iothub/websocket?iothub-no-client-cert=true", "/$servicebus/websocket",
                "/%24servicebus/websocket/",
            ] {
                let request = Array(self.upgrade(path, "AMQPWSB10").utf8)
                let answer = try await self.exchange(
                    test,
                    [request, self.frame(0x82, "hello echo")],
                    until: "hello echo"
                )
                #expect(answer.contains("101 Switching Protocols"), "\(path)")
                #expect(answer.lowercased().contains("sec-websocket-protocol: amqpwsb10"))
                #expect(answer.contains("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="))
            }
        }
    }

    @Test func `security 029 other paths, sub-protocols and foreign origins get no tunnel`() async throws {
        try await TestHub.with(tunnels: Self.echo) { test in
            let requests = [
                self.upgrade("/other", "AMQPWSB10"), self.upgrade("/$iothub/websocket", "mqtt"),
                self.upgrade("/$iothub/websocket", "AMQPWSB10", "Origin: https://evil.example.org\r\n"),
                self.upgrade("/$iothub/websocket", "AMQPWSB10", "Origin: null\r\n"),
            ]
            for request in requests {
                let answer = try await self.exchange(test, request)
                #expect(answer.hasPrefix("HTTP/1.1 400"))
            }
            let own = self.upgrade("/$iothub/websocket", "AMQPWSB10", "Origin: https://hub.example.com\r\n")
            let answer = try await self.exchange(test, own, until: "\r\n\r\n")
            #expect(answer.contains("101 "))
        }
    }

    @Test func `security 053 frames that break the rules end the tunnel`() async throws {
        try await TestHub.with(tunnels: Self.echo) { test in
            let request = Array(self.upgrade("/$iothub/websocket", "AMQPWSB10").utf8)
            let unmasked: [UInt8] = [0x82, 1, 0x41]
            let huge: [UInt8] = [0x82, 0xFF, 0x7F, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 1, 2, 3, 4]
            for bad in [
                unmasked, huge, self.frame(0x81, "text"), self.frame(0xC2, "rsv"), self.frame(0x83, "opcode"),
                self.frame(0x88, ""), self.frame(0x80, "continues nothing"),
                self.frame(0x02, "not done") + self.frame(0x82, "begins anew"),
                self.frame(0x02, "not done") + self.frame(0x80, "done") + self.frame(0x80, "more"),
            ] {
                let answer = try await self.exchange(test, [request, bad])
                #expect(answer.contains("101 "))
            }
            let parts =
                self.frame(0x02, "in ") + self.frame(0x89, "ping ") + self.frame(0x00, "three ")
                + self.frame(0x80, "parts")
            let whole = try await self.exchange(test, [request, parts], until: "parts")
            for part in ["in ", "ping ", "three ", "parts"] { #expect(whole.contains(part)) }
            let ping = try await self.exchange(
                test,
                [request, self.frame(0x89, "are you there")],
                until: "are you there"
            )
            #expect(ping.contains("are you there"))
        }
    }

    @Test func `what comes through a tunnel before its peer has signed in is bounded, unfinished frames too`()
        async throws
    {
        var limits = HTTPFrontLimits()
        limits.webSocketBytesBeforeSignInMax = 1_000
        try await TestHub.with(tunnels: Self.echo, limits: limits) { test in
            let request = Array(self.upgrade("/$iothub/websocket", "AMQPWSB10").utf8)
            let few = try await self.exchange(
                test,
                [request, self.frame(0x82, String(repeating: "x", count: 100)), self.frame(0x82, "in time")],
                until: "in time"
            )
            #expect(few.contains("in time"))
            let unfinished: [UInt8] = [0x82, 0xFF, 0, 0, 0, 0, 0, 0x10, 0, 0, 1, 2, 3, 4]
            // Returns when the server closes.
            let many = try await self.exchange(test, [request, unfinished + [UInt8](repeating: 0, count: 1_000)])
            #expect(many.contains("101 "))
        }
    }
}
