// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import NIOCore
import NIOEmbedded
import NIOWebSocket
import Testing

@testable import HTTPFront

/// What a tunnel does for itself.
struct WebSocketTunnelTests {
    @Test func `security 053 pings of a client that does not read fill no memory`() throws {
        let channel = EmbeddedChannel(handler: WebSocketTunnelHandler())
        func ping(_ text: String) throws {
            let frame = WebSocketFrame(fin: true, opcode: .ping, maskKey: [0, 0, 0, 0], data: ByteBuffer(string: text))
            try channel.writeInbound(frame)
        }
        try ping("first")
        #expect(try channel.readOutbound(as: WebSocketFrame.self)?.data == ByteBuffer(string: "first"))
        channel.isWritable = false
        for number in 0..<1000 { try ping("\(number)") }
        #expect(try channel.readOutbound(as: WebSocketFrame.self) == nil)
        channel.isWritable = true
        channel.pipeline.fireChannelWritabilityChanged()
        let pong = try #require(try channel.readOutbound(as: WebSocketFrame.self))
        #expect(pong.opcode == .pong && pong.data == ByteBuffer(string: "999"))
        #expect(try channel.readOutbound(as: WebSocketFrame.self) == nil)
        _ = try channel.finish()
    }
}
