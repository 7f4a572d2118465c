// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import EventLog
import FoundationEssentials
import HubClient
import HubTransport
import NIOCore
import Synchronization
import Testing

@testable import roost

struct BackupTests {
    @Test func `a backup taken while messages come in holds all that was acknowledged before it`() async throws {
        let directory = try TemporaryDirectory()
        let copy = try TemporaryDirectory()
        defer {
            directory.remove()
            copy.remove()
        }
        let hub = try await RunningHub.start(in: directory)
        let key = try await hub.makeDevice("d1")
        let device = try await hub.device("d1", key: key)
        let stops = Atomic(false)
        let sent = Atomic<Int64>(0)
        let sender = Task {
            while !stops.load(ordering: .relaxed) {
                let burst = (0..<20).map { _ in
                    device.enqueue(DeviceMessage(body: ByteBuffer(repeating: 0x61, count: 3_000)))
                }
                for future in burst {
                    try await future.get()
                    sent.wrappingAdd(1, ordering: .relaxed)
                }
            }
        }
        #expect(try await eventually { sent.load(ordering: .relaxed) > 100 })
        let before = sent.load(ordering: .relaxed)
        let report = try DirectoryBackup(
            source: hub.server.directory.path,
            destination: copy.path + "/data"
        ).run()
        let isStillSending = try await eventually { sent.load(ordering: .relaxed) > before + 20 }
        #expect(isStillSending)
        stops.store(true, ordering: .relaxed)
        try await sender.value
        #expect(report.files >= 1)

        let log = EventLogConfiguration(directory: copy.path + "/data/events", partitionCount: 4)
        #expect(try EventLog.check(log).damage.isEmpty)
        let second = try await RunningHub.start(in: copy)
        #expect(second.eventCount() >= before)
        #expect(second.eventCount() <= sent.load(ordering: .relaxed))
        #expect(second.server.file.policies == hub.server.file.policies)
        let again = try await second.device("d1", key: key)
        try await again.send(DeviceMessage(body: ByteBuffer(string: "on the copy")))
        await again.close()
        try await second.stop()
        await device.close()
        try await hub.stop()
        for secret in ["data/state.sqlite", "data/tls/ca.key", "data/tls/server.key"] {
            #expect(copy.mode(of: secret) == 0o600, "\(secret)")
        }
    }

    @Test func `a backup goes to a new directory only and from a data directory only`() async throws {
        let directory = try TemporaryDirectory()
        defer { directory.remove() }
        let hub = try await RunningHub.start(in: directory)
        let path = hub.server.directory.path
        #expect(throws: BackupProblem.exists(directory.path)) {
            try DirectoryBackup(source: path, destination: directory.path).run()
        }
        #expect(throws: BackupProblem.noHub("/nowhere")) {
            try DirectoryBackup(source: "/nowhere", destination: directory.path + "/copy").run()
        }
        try await hub.stop()
    }

    @Test func `damage in the log is told by check and accepted by repair`() async throws {
        let directory = try TemporaryDirectory()
        defer { directory.remove() }
        let hub = try await RunningHub.start(in: directory)
        let key = try await hub.makeDevice("d1")
        let device = try await hub.device("d1", key: key)
        for index in 0..<20 { try await device.send(DeviceMessage(body: ByteBuffer(string: "needle \(index)"))) }
        await device.close()
        let path = hub.server.directory.path
        var options = try LogOptions.parse(["--data", path])
        #expect(throws: DirectoryProblem.self) { try options.withLog { try EventLog.check($0) } }
        try await hub.stop()

        options = try LogOptions.parse(["--data", path, "--json"])
        let good = try options.withLog { try EventLog.check($0) }
        #expect(good.events == 20)
        #expect(good.damage.isEmpty)
        try flipByte(after: "needle 3", in: path + "/events")
        let bad = try options.withLog { try EventLog.check($0) }
        #expect(!bad.damage.isEmpty)
        #expect(!bad.damagedPartitions.isEmpty)
        _ = try options.withLog { try EventLog.repair($0) }

        let again = try await RunningHub.start(in: directory)
        let repaired = try await again.device("d1", key: key)
        try await repaired.send(DeviceMessage(body: ByteBuffer(string: "after")))
        await repaired.close()
        try await again.stop()
    }

    private func flipByte(after needle: String, in folder: String) throws {
        for name in try FileManager.default.contentsOfDirectory(atPath: folder) where name.hasSuffix(".journal") {
            var bytes = try SecretFile.read(folder + "/" + name, sizeBytesMax: 1 << 30)
            guard let place = bytes.firstRange(of: Array(needle.utf8)) else { continue }
            bytes[place.lowerBound] ^= 1
            try SecretFile.write(bytes, to: folder + "/" + name)
            return
        }
        Issue.record("no journal holds \(needle)")
    }
}
