// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import HTTPFront
import Hub
import HubModel
import NIOCore
import NIOHTTP1
import NIOPosix
import Testing

/// The rules of HTTP/1.1 that clients and proxies rely on, spoken in raw bytes.
struct RequestRulesTests {
    /// A request of the owner; `headers` come behind `Host` and the token.
    private func request(
        _ test: TestHub,
        _ start: String,
        _ headers: String = "",
        host: String = "Host: h\r\n",
        isSigned: Bool = true
    ) -> String {
        let token = isSigned ? "Authorization: \(test.token("iothubowner"))\r\n" : ""
        return "\(start)\r\n\(host)\(token)\(headers)\r\n"
    }

    private func exchange(_ test: TestHub, _ text: String, until stop: String? = nil) async throws -> String {
        try await test.exchange([Array(text.utf8)], until: stop)
    }

    private static let count = "/statistics/service?api-version=1"
    private static let put = "PUT /devices/d?api-version=1 HTTP/1.1"

    @Test func `an answer to HEAD goes without its body`() async throws {
        try await TestHub.with { test in
            let head = self.request(test, "HEAD \(Self.count) HTTP/1.1")
            let last = self.request(test, "GET \(Self.count) HTTP/1.1", "Connection: close\r\n")
            let answer = try await self.exchange(test, head + last)
            // The next answer begins where the head of this one ends.
            #expect(answer.hasPrefix("HTTP/1.1 405 "))
            #expect(answer.contains("\r\n\r\nHTTP/1.1 200 "), "\(answer)")
            #expect(answer.hasSuffix("}"))
        }
    }

    @Test func `security 053 a request has one host`() async throws {
        try await TestHub.with { test in
            for host in ["", "Host: h\r\nHost: other\r\n"] {
                let answer = try await self.exchange(test, self.request(test, "GET \(Self.count) HTTP/1.1", host: host))
                #expect(answer.hasPrefix("HTTP/1.1 400 "), "\(host)")
            }
            // The answers that are due come first, and nothing behind such a request is looked at.
            let good = self.request(test, "GET \(Self.count) HTTP/1.1")
            let bad = self.request(test, "GET \(Self.count) HTTP/1.1", host: "")
            let answer = try await self.exchange(test, good + bad + good)
            #expect(answer.split(separator: "HTTP/1.1 ").map { $0.prefix(3) } == ["200", "400"])
            let old = try await self.exchange(test, self.request(test, "GET \(Self.count) HTTP/1.0", host: ""))
            #expect(old.hasPrefix("HTTP/1.1 200 "))
        }
    }

    @Test func `HTTP 1.0 and close in any spelling end the connection`() async throws {
        try await TestHub.with { test in
            let requests = [
                ("HTTP/1.0", ""), ("HTTP/1.1", "Connection: Close\r\n"), ("HTTP/1.1", "Connection: foo, close\r\n"),
                ("HTTP/1.1", "Connection: close\r\n"),
            ]
            for (version, header) in requests {
                let text = self.request(test, "GET \(Self.count) \(version)", header)
                // What is behind the last request is not answered.
                let answer = try await self.exchange(test, text + text)
                #expect(answer.split(separator: "HTTP/1.1 ").count == 1, "\(version) \(header)")
                #expect(answer.hasPrefix("HTTP/1.1 200 ") && answer.lowercased().contains("connection: close\r\n"))
            }
            let kept = self.request(test, "GET \(Self.count) HTTP/1.0", "Connection: keep-alive\r\n")
            let last = self.request(test, "GET \(Self.count) HTTP/1.0")
            let answer = try await self.exchange(test, kept + last)
            #expect(answer.split(separator: "HTTP/1.1 ").count == 2)
            #expect(answer.lowercased().contains("connection: keep-alive\r\n"))
        }
    }

    @Test func `a client that waits to be asked for its body is asked, once its token is good`() async throws {
        try await TestHub.with { test in
            let headers = "Expect: 100-Continue\r\nContent-Length: 2\r\n"
            let word = "HTTP/1.1 100 Continue\r\n\r\n"
            let asked = try await self.exchange(test, self.request(test, Self.put, headers), until: word)
            #expect(asked == word)
            let text = self.request(test, Self.put, "Connection: close\r\n" + headers) + "{}"
            let whole = try await self.exchange(test, text)
            #expect(whole.contains("HTTP/1.1 200 "))
            // Whether the body follows such an answer nobody can know: the connection ends.
            let stranger = try await self.exchange(test, self.request(test, Self.put, headers, isSigned: false))
            #expect(stranger.hasPrefix("HTTP/1.1 401 ") && !stranger.contains("100 Continue"))
        }
    }

    @Test func `security 053 a body that breaks its frame is the client's fault`() async throws {
        try await TestHub.with { test in
            let bodies = [
                "Transfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n",
                "Transfer-Encoding: gzip\r\n\r\n{}",
            ]
            for body in bodies {
                let text = self.request(test, Self.put, body).dropLast(2)
                let answer = try await self.exchange(test, String(text))
                #expect(answer.hasPrefix("HTTP/1.1 400 ") && answer.contains("GenericBadRequest"), "\(answer)")
            }
            let old = "Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n"
            let text = self.request(test, "PUT /devices/d?api-version=1 HTTP/1.0", old).dropLast(2)
            #expect(try await self.exchange(test, String(text)).hasPrefix("HTTP/1.1 400 "))
            let none = self.request(test, "GET /devices/d?api-version=1 HTTP/1.1", "Connection: close\r\n")
            #expect(try await self.exchange(test, none).hasPrefix("HTTP/1.1 404 "))
        }
    }

    @Test func `a wish for another protocol than WebSocket is ignored`() async throws {
        try await TestHub.with { test in
            for wish in [
                "Upgrade: h2c\r\nConnection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n",
                "Upgrade: TLS/1.0\r\nConnection: Upgrade\r\n", "Upgrade: websocket\r\n",
            ] {
                let text = self.request(test, "GET \(Self.count) HTTP/1.1", wish)
                let answer = try await self.exchange(test, text, until: "connectedDeviceCount")
                #expect(answer.hasPrefix("HTTP/1.1 200 "), "\(wish)")
            }
        }
    }

    @Test func `a request that comes while another is answered does not shorten its time`() async throws {
        var limits = HTTPFrontLimits()
        limits.idleTimeout = .seconds(1)
        var hubLimits = Limits()
        hubLimits.methods.responseTimeoutSeconds = 3...3
        try await TestHub.with(limits: limits, hubLimits: hubLimits) { test in
            _ = try await test.send(.PUT, "/devices/d", "{}")
            let device = try await ScriptedDevice(test.hub, IdentityID(device: "d"))
            let call = #"{"methodName":"m"}"#
            let headers = "Connection: close\r\nContent-Length: \(call.utf8.count)\r\n"
            let first = self.request(test, "GET \(Self.count) HTTP/1.1")
            let second = self.request(test, "POST /twins/d/methods?api-version=1 HTTP/1.1", headers) + call
            let answer = try await self.exchange(test, first + second)
            #expect(answer.contains("HTTP/1.1 504 "), "\(answer)")
            #expect(try await device.calls.count == 1)
        }
    }

    @Test func `security 053 a client that does not read its answers is cut`() async throws {
        var limits = HTTPFrontLimits()
        limits.idleTimeout = .seconds(1)
        try await TestHub.with(limits: limits) { test in
            let text = String(repeating: "x", count: 500)
            let items = (0..<40).map { #"{"id":"d","moduleId":"m\#($0)","managedBy":"\#(text)"}"# }
            _ = try await test.send(.PUT, "/devices/d", "{}")
            let made = try await test.send(.POST, "/devices", "[\(items.joined(separator: ","))]")
            #expect(made.status == 200)
            let request = self.request(test, "GET /devices/d/modules?api-version=1 HTTP/1.1")
            let metrics = test.hub.metrics.http
            let accepted = metrics.accepted.value
            let channel = try await ClientBootstrap(group: MultiThreadedEventLoopGroup.singleton)
                .connect(host: "127.0.0.1", port: test.port).get()
            try await channel.setOption(.autoRead, value: false).get()
            // Far more than the sockets between the two hold.
            let requests = String(repeating: request, count: 1000)
            channel.writeAndFlush(ByteBuffer(string: requests), promise: nil)
            let end = ContinuousClock.now + .seconds(30)
            // The connection that made the modules rests in its client's pool, and goes by the same time-out.
            while metrics.accepted.value == accepted || metrics.open.value > 0, ContinuousClock.now < end {
                try await Task.sleep(for: .milliseconds(5))
            }
            #expect(metrics.accepted.value > accepted && metrics.open.value == 0)
            channel.close(promise: nil)
        }
    }
}
