// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import HubClient

/// `roost bench twin`: reported properties.
struct TwinBenchCommand: OperationLoadCommand, DeviceLoadCommand {
    static let configuration = CommandConfiguration(
        commandName: "twin",
        abstract: "Patch reported properties over MQTT.",
        discussion: """
            Each device fills its reported properties up to --twin-size and then patches one of them at a time, as fast as \
            its window of unanswered patches allows. A patch counts with its answer, which the hub gives once it is durable.
            """
    )

    @Option(name: .long, help: .init("Unanswered patches of a device.", valueName: "count"))
    var window = 4

    @Option(name: .long, help: .init("Bytes in a patch.", valueName: "bytes"))
    var size = 100

    @Option(name: .long, help: .init("Bytes of reported properties.", valueName: "bytes"))
    var twinSize = 1024

    @Option(
        name: .long,
        help: .init("How patches are sent. 1: with PUBACK. 0: with the answer only.", valueName: "0|1")
    )
    var qos = 0

    @OptionGroup var options: BenchOptions

    func validate() throws {
        try BenchOptions.check((1...1000).contains(self.window), "--window is 1 to 1000.")
        let sizes = TwinLoadPlan.patchBytesMin...4000
        try BenchOptions.check(sizes.contains(self.size), "--size is \(sizes.lowerBound) to 4000.")
        try BenchOptions.check((self.size...32_000).contains(self.twinSize), "--twin-size is --size to 32000.")
        try BenchOptions.check((0...1).contains(self.qos), "--qos is 0 or 1.")
    }

    /// Makes the devices, lets them report, and deletes them whatever happened.
    func measured(_ target: HubTarget) async throws -> OperationReport {
        try await self.options.withDevices(of: target) { key in
            var plan = TwinLoadPlan(fleet: self.options.fleet(target, key: key))
            plan.window = self.window
            plan.patchBytes = self.size
            plan.twinBytes = self.twinSize
            plan.isAcknowledged = self.qos == 1
            return try await plan.run { fleet in
                try await fleet.connectAll()
                try await fleet.waitUntilReady(self.options.devices)
                return try await self.options.run(of: target, operation: "patches").run(fleet) { $0.reported }
            }
        }
    }
}
