// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import HubClient

/// `roost bench amqp`: telemetry over AMQP.
struct LinkBenchCommand: OperationLoadCommand, DeviceLoadCommand {
    static let configuration = CommandConfiguration(
        commandName: "amqp",
        abstract: "Send telemetry over AMQP, a link for each device.",
        discussion: """
            The devices share --connections connections; each has a link of its own and keeps --window messages unsettled. \
            A message counts when the hub accepts it, which it does once the message is durable.
            """
    )

    @Option(name: .long, help: .init("Unsettled messages of a link.", valueName: "count"))
    var window = 16

    @Option(name: .long, help: .init("Bytes in the body of a message.", valueName: "bytes"))
    var size = 256

    @Option(name: .long, help: .init("How many connections the links share.", valueName: "count"))
    var connections = 1

    @OptionGroup var readBack: ReadBackOptions
    @OptionGroup var options: BenchOptions

    func validate() throws {
        try BenchOptions.check((1...100).contains(self.window), "--window is 1 to 100.")
        try BenchOptions.check((1...262_144).contains(self.size), "--size is 1 to 262144.")
        let connections = 1...self.options.devices
        try BenchOptions.check(connections.contains(self.connections), "--connections is 1 to --devices.")
        try self.readBack.check(bodyBytes: self.size)
    }

    /// Makes the devices, lets them send, and deletes them whatever happened.
    func measured(_ target: HubTarget) async throws -> OperationReport {
        try await self.options.withDevices(of: target) { key in
            var plan = LinkLoadPlan(address: target.address, devices: self.options.ids, key: key)
            plan.connections = self.connections
            plan.window = self.window
            plan.bodyBytes = self.size
            plan.threads = min(self.options.threads, self.connections)
            let load = plan
            return try await self.readBack.withReader(of: target) { reader in
                var run = self.options.run(of: target, operation: "messages")
                run.reader = reader
                let measuring = run
                return try await LinkLoad.with(load) { load in try await measuring.run(load) { $0.acknowledged } }
            }
        }
    }
}
