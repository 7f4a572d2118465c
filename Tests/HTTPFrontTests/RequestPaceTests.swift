// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import HTTPTypes
import NIOCore
import NIOEmbedded
import NIOHTTPTypes
import Testing

@testable import HTTPFront

/// The deadlines of a connection's requests, by a clock that moves when told.
@Suite struct RequestPaceTests {
    private let loop = EmbeddedEventLoop()
    private let channel: EmbeddedChannel

    init() throws {
        var limits = HTTPFrontLimits()
        limits.headerTimeout = .seconds(10)
        limits.idleTimeout = .seconds(60)
        limits.bodyBytesPerSecondMin = 1
        self.channel = EmbeddedChannel(handler: RequestPaceHandler(limits: limits), loop: self.loop)
        try self.channel.connect(to: SocketAddress(ipAddress: "127.0.0.1", port: 1)).wait()
    }

    private func head() throws {
        let request = HTTPRequest(method: .get, scheme: "https", authority: "h", path: "/")
        try self.channel.writeInbound(HTTPRequestPart.head(request))
    }

    private func end() throws { try self.channel.writeInbound(HTTPRequestPart.end(nil)) }

    private func answer() throws {
        try self.channel.writeOutbound(HTTPResponsePart.head(HTTPResponse(status: .ok)))
        try self.channel.writeOutbound(HTTPResponsePart.end(nil))
    }

    @Test func `a connection lives while requests come and the hub takes its time`() throws {
        for _ in 0..<3 {
            try self.head()
            try self.end()
            self.loop.advanceTime(by: .seconds(300))
            try self.answer()
            self.loop.advanceTime(by: .seconds(59))
            #expect(self.channel.isActive)
        }
        self.loop.advanceTime(by: .seconds(1))
        #expect(!self.channel.isActive)
    }

    @Test func `security 053 a body is cut at its own deadline, be the connection new or used`() throws {
        try self.head()
        try self.end()
        try self.answer()
        self.loop.advanceTime(by: .seconds(20))
        try self.head()
        self.loop.advanceTime(by: .seconds(9))
        try self.channel.writeInbound(HTTPRequestPart.body(ByteBuffer(repeating: 0, count: 5)))
        self.loop.advanceTime(by: .seconds(5))
        #expect(self.channel.isActive)
        self.loop.advanceTime(by: .seconds(1))
        #expect(!self.channel.isActive)
    }
}
