// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import Glibc
import Hub
import HubClient
import HubModel
import HubTransport
import NIOCore
import NIOPosix
import Testing

@testable import roost

struct HubServerTests {
    @Test func `what was acknowledged is there after a restart`() async throws {
        let directory = try TemporaryDirectory()
        defer { directory.remove() }
        let first = try await RunningHub.start(in: directory)
        let key = try await first.makeDevice("d1")
        for plain in [false, true] {
            let device = try await first.device("d1", key: key, plain: plain)
            for index in 0..<10 { try await device.send(DeviceMessage(body: ByteBuffer(string: "m\(index)"))) }
            await device.close()
        }
        let policies = first.server.file.policies
        try await first.stop()

        let second = try await RunningHub.start(in: directory)
        #expect(second.eventCount() == 20)
        #expect(second.server.file.policies == policies)
        let device = try await second.device("d1", key: key)
        try await device.send(DeviceMessage(body: ByteBuffer(string: "later")))
        #expect(second.eventCount() == 21)
        await device.close()
        try await second.stop()
    }

    @Test func `security 061 every file with secrets is for its owner only`() async throws {
        let directory = try TemporaryDirectory()
        defer { directory.remove() }
        let hub = try await RunningHub.start(in: directory)
        #expect(directory.mode(of: "data") == 0o700)
        for file in ["hub.json", "lock", "state.sqlite", "state.sqlite-wal", "tls/ca.key", "tls/server.key"] {
            #expect(directory.mode(of: "data/" + file) == 0o600, "\(file)")
        }
        try await hub.stop()
        chmod(directory.path + "/data/tls/server.key", 0o644)
        await #expect(throws: ExposedSecret.self) { try await RunningHub.start(in: directory) }
    }

    @Test func `security 052 no key and no token is ever logged`() async throws {
        let directory = try TemporaryDirectory()
        defer { directory.remove() }
        let hub = try await RunningHub.start(in: directory)
        let key = try await hub.makeDevice("d1")
        let device = try await hub.device("d1", key: key)
        let payload = "payload-canary-4711"
        try await device.send(DeviceMessage(body: ByteBuffer(string: payload)))
        let wrong = "d3Jvbmcta2V5LWNhbmFyeS13cm9uZy1rZXktY2FuYXJ5MTI="
        await #expect(throws: (any Error).self) { try await hub.device("d1", key: wrong) }
        await #expect(throws: (any Error).self) { try await hub.device("nobody", key: wrong) }
        await device.close()
        try await hub.stop()

        let text = hub.log.text
        let keys = hub.server.file.policies.flatMap { [$0.primaryKey, $0.secondaryKey] } + [key, wrong, payload]
        for secret in keys { #expect(!text.contains(secret.prefix { $0 != "=" })) }
        #expect(!text.contains("sig="))
        #expect(!text.contains("SharedAccessSignature"))
        #expect(text.contains("stores closed"))
    }

    @Test func `a second hub on the same data directory is refused`() async throws {
        let directory = try TemporaryDirectory()
        defer { directory.remove() }
        let hub = try await RunningHub.start(in: directory)
        let error = await #expect(throws: DirectoryProblem.self) { try await RunningHub.start(in: directory) }
        #expect(error?.description.hasPrefix(hub.server.directory.path + " is in use by another roost") == true)
        try await hub.stop()
    }

    @Test func `a port that is taken is one line and leaves the data directory free`() async throws {
        let directory = try TemporaryDirectory()
        let other = try TemporaryDirectory()
        defer {
            directory.remove()
            other.remove()
        }
        let hub = try await RunningHub.start(in: directory)
        let port = try #require(hub.server.file.ports.mqtts)
        let error = await #expect(throws: ListenError.self) {
            try await RunningHub.start(in: other) { $0.listeners.mqtts = port }
        }
        #expect(error?.description.contains("--mqtts-port") == true)
        let free = try await RunningHub.start(in: other)
        try await free.stop()
        try await hub.stop()
    }

    @Test func `the number of partitions is fixed when the directory is made`() async throws {
        let directory = try TemporaryDirectory()
        defer { directory.remove() }
        let first = try await RunningHub.start(in: directory) {
            $0.events.partitionCount = 8
            $0.events.partitionCountIsChosen = true
        }
        try await first.stop()
        let second = try await RunningHub.start(in: directory)
        #expect(second.server.hub.stores.events.partitionCount == 8)
        try await second.stop()
        let error = await #expect(throws: PartitionCountMismatch.self) {
            try await RunningHub.start(in: directory) {
                $0.events.partitionCount = 2
                $0.events.partitionCountIsChosen = true
            }
        }
        #expect(error?.description.contains("was made with 8 partitions, and 2 are asked for") == true)
    }

    @Test func `metrics and health tell what happens`() async throws {
        let directory = try TemporaryDirectory()
        defer { directory.remove() }
        let hub = try await RunningHub.start(in: directory)
        let key = try await hub.makeDevice("d1")
        let device = try await hub.device("d1", key: key)
        try await device.send(DeviceMessage(body: ByteBuffer(string: "12345")))
        #expect(try await hub.get("/healthz").status == 200)
        #expect(try await hub.get("/readyz").status == 200)
        let lines = try await hub.get("/metrics").body.split(separator: "\n")
        #expect(lines.contains("roost_connections{protocol=\"mqtt\"} 1"))
        #expect(lines.contains("roost_telemetry_messages_total 1"))
        #expect(lines.contains("roost_telemetry_bytes_total 5"))
        #expect(lines.contains("roost_acknowledgement_seconds_count 1"))
        #expect(lines.contains("roost_connections_unauthenticated 0"))
        #expect(lines.contains { $0.hasPrefix("roost_log_size_bytes ") })
        await device.close()
        try await hub.stop()
    }

    @Test func `security 054 a client of HTTPS counts as unknown until its token was good`() async throws {
        let directory = try TemporaryDirectory()
        defer { directory.remove() }
        let hub = try await RunningHub.start(in: directory)
        func unknown() async throws -> Bool {
            try await hub.get("/metrics").body.contains("\nroost_connections_unauthenticated 1\n")
        }
        let stranger = try await ClientBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .connect(host: "127.0.0.1", port: hub.server.file.ports.http ?? 0).get()
        #expect(try await eventually { hub.server.hub.metrics.http.open.value == 1 })
        #expect(try await unknown())
        let target = try HubTarget(dataDirectory: hub.server.directory.path, plain: true)
        try await target.withService { service in
            _ = try await service.devices(top: 1)
            // The stranger still, and not this one.
            #expect(try await unknown())
        }
        stranger.close(promise: nil)
        try await hub.stop()
    }

    @Test func `stopping lets devices go and waits for what is in flight`() async throws {
        let directory = try TemporaryDirectory()
        defer { directory.remove() }
        let hub = try await RunningHub.start(in: directory)
        let key = try await hub.makeDevice("d1")
        let device = try await hub.device("d1", key: key)
        try await device.send(DeviceMessage(body: ByteBuffer(string: "first")))
        let pending = (0..<50).map { device.enqueue(DeviceMessage(body: ByteBuffer(string: "m\($0)"))) }
        try await hub.stop()
        var acknowledged: Int64 = 1
        for future in pending {
            do {
                try await future.get()
                acknowledged += 1
            } catch {
                // The hub stopped before it had read this one.
                continue
            }
        }
        let again = try await RunningHub.start(in: directory)
        #expect(again.eventCount() >= acknowledged)
        try await again.stop()
    }

    @Test func `security 038 disabling a device drops its connection at once`() async throws {
        let directory = try TemporaryDirectory()
        defer { directory.remove() }
        let hub = try await RunningHub.start(in: directory)
        let key = try await hub.makeDevice("d1")
        let device = try await hub.device("d1", key: key)
        var draft = IdentityDraft(id: IdentityID(device: "d1"))
        draft.status = .disabled
        _ = try await hub.server.registry.put(draft, ifMatch: .any)
        #expect(try await eventually { hub.server.hub.metrics.mqtt.open.value == 0 })
        await device.close()
        await #expect(throws: (any Error).self) { try await hub.device("d1", key: key) }
        try await hub.stop()
    }
}
