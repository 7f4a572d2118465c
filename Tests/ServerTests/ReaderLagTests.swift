// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import Hub
import HubClient
import HubTransport
import NIOCore
import Testing

@testable import roost

struct ReaderLagTests {
    @Test func `the lag of the slowest reader is a metric`() async throws {
        let directory = try TemporaryDirectory()
        defer { directory.remove() }
        let hub = try await RunningHub.start(in: directory) {
            $0.events.partitionCount = 1
            $0.events.partitionCountIsChosen = true
        }
        let key = try await hub.makeDevice("d1")
        let device = try await hub.device("d1", key: key)
        for index in 0..<10 { try await device.send(DeviceMessage(body: ByteBuffer(string: "m\(index)"))) }
        await device.close()
        let fast = ReaderProgress()
        let slow = ReaderProgress()
        fast.reached(9)
        slow.reached(3)
        let place = ReaderRegistry.Place(group: "$Default", partition: 0)
        let readers = hub.server.hub.readers
        let first = try readers.enter(place, epoch: nil, name: nil, progress: fast) { _ in }
        #expect(try await lag(hub) == "0")
        let second = try readers.enter(place, epoch: nil, name: nil, progress: slow) { _ in }
        #expect(try await lag(hub) == "6")
        readers.leave(first)
        readers.leave(second)
        #expect(try await lag(hub) == nil)
        try await hub.stop()
    }

    @Test func `listeners without TLS stay on loopback unless told otherwise`() {
        var listeners = Configuration.Listeners()
        #expect(ListenerPlan.plainAddress(listeners) == "127.0.0.1")
        listeners.address = "10.0.0.1"
        #expect(ListenerPlan.plainAddress(listeners) == "127.0.0.1")
        listeners.address = "127.0.0.7"
        #expect(ListenerPlan.plainAddress(listeners) == "127.0.0.7")
        listeners.plainAddress = "10.0.0.2"
        #expect(ListenerPlan.plainAddress(listeners) == "10.0.0.2")
    }

    private func lag(_ hub: RunningHub) async throws -> String? {
        let start = "roost_reader_lag_events{consumer_group=\"$Default\",partition=\"0\"} "
        let lines = try await hub.get("/metrics").body.split(separator: "\n")
        return lines.first { $0.hasPrefix(start) }.map { String($0.dropFirst(start.count)) }
    }
}
