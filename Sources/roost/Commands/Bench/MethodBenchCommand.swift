// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import FoundationEssentials
import HubClient

/// `roost bench method`: direct methods end to end.
struct MethodBenchCommand: OperationLoadCommand, DeviceLoadCommand {
    static let configuration = CommandConfiguration(
        commandName: "method",
        abstract: "Call methods over HTTPS that devices on MQTT answer.",
        discussion: """
            Calls go to the devices in turn, at a rate; each device answers at once with what the call carries. The latency \
            is the whole round trip, from the request over HTTPS to its answer.
            """
    )

    @Option(name: .long, help: .init("Calls a second.", valueName: "number"))
    var rate = 1000.0

    @Option(name: .long, help: .init("Calls that wait at once; more are left out.", valueName: "count"))
    var window = 256

    @Option(name: .long, help: .init("Connections over which calls are made.", valueName: "count"))
    var connections = 64

    @Option(name: .long, help: .init("Bytes in the payload of a call.", valueName: "bytes"))
    var size = 32

    @OptionGroup var options: BenchOptions

    func validate() throws {
        try BenchOptions.check((0.1...1e6).contains(self.rate), "--rate is 0.1 to 1000000.")
        try BenchOptions.check((1...10_000).contains(self.window), "--window is 1 to 10000.")
        try BenchOptions.check((1...10_000).contains(self.connections), "--connections is 1 to 10000.")
        try BenchOptions.check((2...131_000).contains(self.size), "--size is 2 to 131000.")
    }

    /// Makes the devices, calls them, and deletes them whatever happened.
    func measured(_ target: HubTarget) async throws -> OperationReport {
        try await self.options.withDevices(of: target) { key in
            try await MethodResponders.run(self.options.fleet(target, key: key)) { fleet in
                try await fleet.connectAll()
                try await fleet.waitUntilReady(self.options.devices)
                var limits = ServiceClient.Limits()
                limits.connections = self.connections
                return try await target.withService(limits: limits) { try await self.call($0, of: target) }
            }
        }
    }

    private func call(_ service: ServiceClient, of target: HubTarget) async throws -> OperationReport {
        let calls = MethodCalls(
            service: service,
            ids: self.options.ids,
            rate: self.rate,
            underWayMax: self.window,
            payload: Data("\"\(String(repeating: "x", count: self.size - 2))\"".utf8)
        )
        let run = self.options.run(of: target, operation: "calls")
        return try await withThrowingTaskGroup(of: Void.self) { tasks in
            tasks.addTask { try await calls.pump() }
            do {
                let report = try await run.run(calls) { $0.methods }
                calls.end()
                try await tasks.waitForAll()
                return report
            } catch {
                calls.end()
                throw error
            }
        }
    }
}
