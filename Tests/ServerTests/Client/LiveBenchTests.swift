// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import FoundationEssentials
import HubClient
import JSON
import NIOCore
import Testing

@testable import HubClient
@testable import roost

/// Each load against a hub in this process: it does what it is named for, nothing fails, and its devices are gone afterwards.
@Suite struct LiveBenchTests {
    private static let short = lasting(0.5)

    private static func lasting(_ seconds: Double) -> [String] {
        ["--devices", "4", "--seconds", "\(seconds)", "--warm-up", "0.1"]
    }

    /// Measures for longer each time until something was done: a busy machine may let half a second pass with nothing.
    private static func measured(
        _ measure: ([String]) async throws -> OperationReport
    ) async throws -> OperationReport {
        for seconds in [0.5, 2] {
            let report = try await measure(lasting(seconds))
            if report.operations > 0 { return report }
        }
        return try await measure(lasting(8))
    }

    @Test func `twins are patched as often as answers come`() async throws {
        try await LiveHub.with { hub in
            let report = try await Self.measured {
                try await TwinBenchCommand.parse($0 + ["--window", "2", "--qos", "1"]).measured(hub.target())
            }
            try Self.check(report, "patches")
            try await Self.checkEmpty(hub)
        }
    }

    @Test func `devices connect and leave over and over`() async throws {
        try await LiveHub.with { hub in
            let report = try await Self.measured {
                try await ConnectBenchCommand.parse($0 + ["--parallel", "2"]).measured(hub.target())
            }
            try Self.check(report, "connects")
            try await Self.checkEmpty(hub)
        }
    }

    @Test func `commands are sent, delivered and completed`() async throws {
        try await LiveHub.with { hub in
            let report = try await Self.measured {
                try await CommandBenchCommand.parse($0 + ["--window", "2"]).measured(hub.target())
            }
            try Self.check(report, "commands")
            try await Self.checkEmpty(hub)
        }
    }

    @Test func `methods are called at a rate`() async throws {
        try await LiveHub.with { hub in
            let report = try await Self.measured {
                try await MethodBenchCommand.parse($0 + ["--rate", "100"]).measured(hub.target())
            }
            try Self.check(report, "calls")
            #expect(report.perSecond < 130)
            try await Self.checkEmpty(hub)
        }
    }

    @Test func `what is there is read to its end`() async throws {
        try await LiveHub.with { hub in
            let target = try hub.target(plain: true)
            let load = try TelemetryBenchCommand.parse(Self.short + ["--plain", "--keep"])
            let published = try await load.measured(target)
            let command = try ReadBenchCommand.parse(["--plain", "--patience", "2"])
            let report = try await command.measured(target)
            #expect(report.operations >= published.publishing?.messages ?? .max)
            #expect(report.operations == UInt64(hub.running.eventCount()))
        }
    }

    @Test func `a load that is refused says why and leaves no device behind`() async throws {
        try await LiveHub.with { hub in
            let command = try ConnectBenchCommand.parse(Self.short + ["--key", "AAAA", "--parallel", "1"])
            await #expect(throws: HubClientError.signInRefused(deviceID: "load-0", code: 5)) {
                try await command.measured(hub.target())
            }
        }
    }

    @Test func `a patch has its size, and the twin is as many patches as fit`() throws {
        var plan = TwinLoadPlan(fleet: FleetPlan(address: HubAddress(hostName: "h"), devices: []))
        plan.patchBytes = 100
        plan.twinBytes = 1024
        #expect(plan.properties == 10)
        let patch = "{\(plan.members(first: 7, count: 1, number: 255))}"
        #expect(patch.utf8.count == 100 && patch.hasPrefix(#"{"p007":"00000000000000ffxxx"#))
        let twin = try JSONDocument(parsing: "{\(plan.members(first: 0, count: 10, number: 0))}").root
        #expect(twin.members.map(\.name) == (0..<10).map { "p00\($0)" })
        plan.patchBytes = TwinLoadPlan.patchBytesMin
        #expect("{\(plan.members(first: 0, count: 1, number: .max))}" == #"{"p000":"ffffffffffffffff"}"#)
    }

    @Test func `a report tells its figures for each operation`() {
        var report = OperationReport(operation: "patches", seconds: 2, operations: 4000)
        report.addUsage(
            from: (.init(cpuSeconds: 1, residentKiB: 0), .init(cpuSeconds: 0, residentKiB: 0)),
            to: (.init(cpuSeconds: 1.5, residentKiB: 2048), .init(cpuSeconds: 0.1, residentKiB: 0))
        )
        #expect(
            report.lines == [
                "patches           2,000/s (4,000 in 2.0 s), refused 0, lost connections 0",
                "generator         25.00 us CPU each",
                "server            125.00 us CPU each, 0.25 cores, 2 MiB resident",
            ]
        )
        #expect(!report.hasFailures)
        report.errors = 1
        #expect(report.hasFailures)
    }

    private static func check(_ report: OperationReport, _ operation: String) throws {
        #expect(report.operation == operation && report.operations > 0, "\(report.lines)")
        #expect(!report.hasFailures, "\(report.lines)")
        #expect(report.latency != nil && report.serverCPUMicrosecondsPerOperation != nil)
    }

    private static func checkEmpty(_ hub: LiveHub) async throws {
        let left = try await hub.target().withService { try await $0.devices(top: 10).value.map(\.deviceID) }
        #expect(left.isEmpty)
    }
}
