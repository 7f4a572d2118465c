// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import HubModel
import HubTransport
import NIOCore
import NIOEmbedded
import NIOHTTP1
import Testing

@testable import roost

struct MetricsTests {
    private func get(_ path: String, _ method: HTTPMethod = .GET, notReady: String? = nil) throws -> (UInt, String) {
        let pages = HealthHandler.Pages(metrics: { "figures" }, notReady: { notReady })
        let channel = EmbeddedChannel(handler: HealthHandler(pages: pages))
        try channel.writeInbound(
            HTTPServerRequestPart.head(HTTPRequestHead(version: .http1_1, method: method, uri: path))
        )
        try channel.writeInbound(HTTPServerRequestPart.end(nil))
        var status: UInt = 0
        var body = ""
        while let part = try channel.readOutbound(as: HTTPServerResponsePart.self) {
            switch part {
            case .head(let head): status = head.status.code
            case .body(.byteBuffer(let buffer)): body += String(buffer: buffer)
            case .body, .end: continue
            }
        }
        #expect(!channel.isActive)
        return (status, body)
    }

    @Test func `the three pages answer and nothing else does`() throws {
        #expect(try get("/metrics") == (200, "figures"))
        #expect(try get("/metrics?x=1").0 == 200)
        #expect(try get("/healthz") == (200, "ok\n"))
        #expect(try get("/readyz") == (200, "ready\n"))
        #expect(try get("/readyz", notReady: "the disk is full") == (503, "not ready: the disk is full\n"))
        #expect(try get("/").0 == 404)
        #expect(try get("/metrics", .POST).0 == 405)
        #expect(try get("/metrics", .HEAD) == (200, ""))
    }

    @Test func `a client that sends no request is let go`() throws {
        let pages = HealthHandler.Pages(metrics: { "" }, notReady: { nil })
        let channel = EmbeddedChannel(handler: HealthHandler(pages: pages, timeout: .seconds(10)))
        try channel.connect(to: SocketAddress(ipAddress: "127.0.0.1", port: 1)).wait()
        channel.embeddedEventLoop.advanceTime(by: .seconds(10))
        #expect(!channel.isActive)
    }

    @Test func `figures are in Prometheus form`() {
        let metrics = HubMetrics()
        metrics.mqtt.open.add(3)
        metrics.telemetryMessagesIn.add(1_234_567)
        metrics.acknowledgementLatency.record(microseconds: 20, count: 2)
        metrics.refused("tooLarge")
        let figures = HubFigures(
            metrics: metrics,
            gate: ConnectionGate(limits: TransportLimits()),
            events: nil,
            readers: nil,
            additional: { $0.gauge("extra", "More.", 1.5) }
        )
        let lines = figures.page().split(separator: "\n").map(String.init)
        #expect(lines.contains("roost_connections{protocol=\"mqtt\"} 3"))
        #expect(lines.contains("roost_telemetry_messages_total 1234567"))
        #expect(lines.contains("# TYPE roost_acknowledgement_seconds histogram"))
        #expect(lines.contains("roost_acknowledgement_seconds_bucket{le=\"1.6e-05\"} 0"))
        #expect(lines.contains("roost_acknowledgement_seconds_bucket{le=\"3.2e-05\"} 2"))
        #expect(lines.contains("roost_acknowledgement_seconds_bucket{le=\"+Inf\"} 2"))
        #expect(lines.contains("roost_acknowledgement_seconds_sum 4e-05"))
        #expect(lines.contains("roost_refusals_total{reason=\"tooLarge\"} 1"))
        #expect(lines.contains("extra 1.5"))
        #expect(lines.contains { $0.hasPrefix("process_open_fds ") && !$0.hasSuffix(" 0") })
        for line in lines where !line.hasPrefix("#") {
            #expect(line.wholeMatch(of: /[a-z_]+(\{[a-z]+="[^"]*"(,[a-z]+="[^"]*")*\})? [-+0-9.eE]+/) != nil, "\(line)")
        }
    }

    @Test func `labels are escaped`() {
        var page = PrometheusText()
        page.gauge("x", "X.", [([("a", "b\"c\\d\n")], 1)])
        #expect(page.text.hasSuffix("x{a=\"b\\\"c\\\\d\\n\"} 1\n"))
    }
}
