// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import HubClient

/// `roost bench c2d`: commands end to end.
struct CommandBenchCommand: OperationLoadCommand, DeviceLoadCommand {
    static let configuration = CommandConfiguration(
        commandName: "c2d",
        abstract: "Send commands over AMQP to devices on MQTT.",
        discussion: """
            One sender keeps --window commands of each device under way; a command counts when its device completes it \
            with PUBACK, and the next is sent. The latency is from the sending to the delivery.
            """
    )

    @Option(name: .long, help: .init("Commands of a device under way.", valueName: "count"))
    var window = 4

    @Option(name: .long, help: .init("Bytes in the body of a command.", valueName: "bytes"))
    var size = 256

    @OptionGroup var options: BenchOptions

    func validate() throws {
        try BenchOptions.check((1...50).contains(self.window), "--window is 1 to 50.")
        let sizes = LoadBody.bytesMin...65_000
        try BenchOptions.check(sizes.contains(self.size), "--size is \(sizes.lowerBound) to 65000.")
        try BenchOptions.check(self.options.threads == 1, "sender and devices share one thread.")
    }

    /// Makes the devices, sends them commands, and deletes them whatever happened.
    func measured(_ target: HubTarget) async throws -> OperationReport {
        let policy = try target.policy()
        return try await self.options.withDevices(of: target) { key in
            let fleet = self.options.fleet(target, key: key)
            var plan = CommandLoadPlan(fleet: fleet, policy: policy.name, key: policy.key)
            plan.window = self.window
            plan.bodyBytes = self.size
            return try await plan.run { fleet in
                try await fleet.connectAll()
                try await fleet.waitUntilReady(self.options.devices)
                return try await self.options.run(of: target, operation: "commands").run(fleet) { $0.commands }
            }
        }
    }
}
