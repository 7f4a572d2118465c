// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import Hub
import HubModel
import JSON
import NIOCore
import NIOHTTP1
import NIOPosix
import Testing

@testable import HTTPFront

/// `/devices/{id}/commands` (docs/wire/http.md#commands), and the counts of commands in documents.
struct CommandRoutesTests {
    private static let path = "/devices/d/commands"

    /// Runs a hub with the devices `d` and `e`, of which `d` has some commands.
    private static func with(_ count: Int, _ body: (TestHub) async throws -> Void) async throws {
        try await TestHub.with { test in
            for device in ["d", "e"] { _ = try await test.send(.PUT, "/devices/\(device)", "{}") }
            for number in 0..<count {
                let message = CommandMessage(messageID: "\(number)", to: "", body: ByteBuffer(string: "body"))
                let loop = MultiThreadedEventLoopGroup.singleton.any()
                try await test.hub.commands.send(message, to: "d", on: loop).get()
            }
            try await body(test)
        }
    }

    @Test func `messages 029 rest_service 099 a purge answers with the number of commands removed`() async throws {
        try await Self.with(3) { test in
            let purged = try await test.send(.DELETE, Self.path)
            #expect(purged.status == 200)
            #expect(purged.text == #"{"totalMessagesPurged":3,"deviceId":"d","moduleId":null}"#)
            let again = try await test.send(.DELETE, Self.path)
            #expect(again.json?["totalMessagesPurged"]?.int == 0)
        }
    }

    @Test func `the queue of an unknown device or under another method is refused`() async throws {
        try await Self.with(0) { test in
            let unknown = try await test.send(.DELETE, "/devices/none/commands")
            #expect(unknown.status == 404)
            #expect(unknown.code == "DeviceNotFound")
            #expect(try await test.send(.DELETE, "/devices/a%2Fb/commands").status == 400)
            #expect(try await test.send(.GET, Self.path).status == 405)
        }
    }

    @Test func `messages 032 documents count the commands that wait`() async throws {
        try await Self.with(2) { test in
            for path in ["/devices/d", "/twins/d"] {
                let document = try await test.send(.GET, path).json
                #expect(document?["cloudToDeviceMessageCount"]?.int == 2)
            }
            let list = try #require(try await test.send(.GET, "/devices").json)
            #expect(list.elements.map { $0["cloudToDeviceMessageCount"]?.int } == [2, 0])
            _ = try await test.send(.DELETE, Self.path)
            #expect(try await test.send(.GET, "/devices/d").json?["cloudToDeviceMessageCount"]?.int == 0)
        }
    }
}
