// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import HubClient

/// `roost bench amqp`: telemetry over AMQP.
struct LinkBenchCommand: AsyncParsableCommand {
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

    @Flag(name: .long, help: "Read the events back and tell the end-to-end latency.")
    var read = false

    @Option(name: .long, help: .init("The consumer group to read with.", valueName: "name"))
    var consumerGroup = "$Default"

    @OptionGroup var options: BenchOptions

    func validate() throws {
        try BenchOptions.check((1...100).contains(self.window), "--window is 1 to 100.")
        try BenchOptions.check((1...262_144).contains(self.size), "--size is 1 to 262144.")
        let connections = 1...self.options.devices
        try BenchOptions.check(connections.contains(self.connections), "--connections is 1 to --devices.")
        try BenchOptions.check(
            !self.read || self.size >= LoadBody.bytesMin,
            "with --read a message carries its time: --size is at least \(LoadBody.bytesMin)."
        )
    }

    func run() async throws {
        try await self.options.report { target, tell in
            let report = try await self.measured(target)
            report.lines.forEach(tell)
            return report
        }
    }

    /// Makes the devices, lets them send, and deletes them whatever happened.
    func measured(_ target: HubTarget) async throws -> OperationReport {
        try await self.options.withDevices(of: target) { key in
            var plan = LinkLoadPlan(address: target.address, devices: self.options.ids, key: key)
            plan.connections = self.connections
            plan.window = self.window
            plan.bodyBytes = self.size
            plan.threads = min(self.options.threads, self.connections)
            var run = self.options.run(of: target, operation: "messages")
            guard self.read else {
                return try await LinkLoad.with(plan) { load in try await run.run(load) { $0.acknowledged } }
            }
            return try await LoadReader.with(target, consumerGroup: self.consumerGroup) { reader in
                run.reader = reader
                let run = run
                return try await LinkLoad.with(plan) { load in try await run.run(load) { $0.acknowledged } }
            }
        }
    }
}
