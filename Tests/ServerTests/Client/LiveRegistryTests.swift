// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import HubClient
import Testing

@testable import roost

/// The commands' part of the registry against the hub itself.
@Suite struct LiveRegistryTests {
    @Test func `a device is made, changed, listed and deleted`() async throws {
        try await LiveHub.with { hub in
            let target = try hub.target()
            try await target.withService { service in
                let created = try await service.create(DeviceIdentity(deviceID: "dev1")).value
                let key = try DeviceConnectionStringCommand.key(of: created)
                #expect(created.status == "enabled" && key.utf8.count == 44)
                var changed = created
                changed.status = "disabled"
                changed.statusReason = "stolen"
                changed = try await service.update(changed, ifMatch: created.etag).value
                #expect(changed.status == "disabled" && changed.etag != created.etag)
                #expect(changed.authentication?.symmetricKey?.primaryKey == key)
                let stale = await #expect(throws: HubClientError.self) {
                    try await service.update(changed, ifMatch: created.etag)
                }
                #expect(Self.status(stale) == 412)
                #expect(try await service.devices(top: 10).value.map(\.deviceID) == ["dev1"])
                try await service.delete("dev1", ifMatch: nil)
                let gone = await #expect(throws: HubClientError.self) { try await service.device("dev1") }
                #expect(Self.status(gone) == 404)
                #expect(gone?.description.contains("DeviceNotFound") == true)
            }
        }
    }

    @Test func `many devices are made by the bulk call and failures are told one by one`() async throws {
        try await LiveHub.with { hub in
            let changes = (0..<250).map { BulkChange(id: "many-\($0)", importMode: .create) }
            let target = try hub.target(plain: true)
            let first = try await target.withService { try await $0.change(changes) }
            #expect(first.isSuccessful && first.errors.isEmpty)
            let second = try await target.withService { try await $0.change(Array(changes.prefix(101))) }
            #expect(!second.isSuccessful && second.errors.count == 101)
            #expect(second.errors.first?.errorCode == "DeviceAlreadyExists")
            let listed = try await target.withService { try await $0.devices(top: 1000).value.count }
            #expect(listed == 250)
        }
    }

    @Test func `a load is made, published, read back and told`() async throws {
        try await LiveHub.with { hub in
            let target = try hub.target(plain: true)
            let command = try TelemetryBenchCommand.parse([
                "--devices", "5", "--rate", "500", "--seconds", "0.5", "--warm-up", "0.1", "--read", "--plain",
                "--property", "a=b",
            ])
            let report = try await command.measured(target)
            #expect(report.connecting.connected == 5 && !report.hasFailures)
            let publishing = try #require(report.publishing)
            #expect(publishing.messages > 50 && publishing.puback != nil)
            #expect((publishing.eventsRead ?? 0) > 50 && publishing.endToEnd != nil)
            #expect(publishing.serverCPUMicrosecondsPerMessage != nil)
            // The devices were the bench's own, so they are gone again.
            #expect(try await target.withService { try await $0.devices(top: 10).value.isEmpty })
        }
    }

    private static func status(_ error: HubClientError?) -> UInt? {
        guard case .refused(let refusal)? = error else { return nil }
        return refusal.status
    }
}
