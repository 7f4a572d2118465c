// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import HubClient

/// `roost bench telemetry`: messages over MQTT.
struct TelemetryBenchCommand: DeviceLoadCommand {
    static let configuration = CommandConfiguration(
        commandName: "telemetry",
        abstract: "Publish telemetry over MQTT.",
        discussion: """
            Without --rate each device publishes as fast as its window of unacknowledged messages allows.

            With --read the events are read back over AMQP, and the time from the writing of a PUBLISH to the event \
            decoded is told as well; the reader's CPU then counts with the generator's.
            """
    )

    @Option(name: .long, help: .init("Unacknowledged messages of a device.", valueName: "count"))
    var window = 16

    @Option(name: .long, help: .init("Messages a second of all devices together.", valueName: "number"))
    var rate: Double?

    @Option(name: .long, help: .init("1: acknowledged. 0: not.", valueName: "0|1"))
    var qos = 1

    @Option(name: .long, help: .init("Bytes in the body of a message.", valueName: "bytes"))
    var size = 256

    @Flag(name: .long, help: "Only hold the connections: tells the memory of each.")
    var idle = false

    @Option(name: .shortAndLong, help: .init("A property of each message; may be repeated.", valueName: "name=value"))
    var property: [String] = []

    @OptionGroup var readBack: ReadBackOptions
    @OptionGroup var options: BenchOptions

    func validate() throws {
        try BenchOptions.check((1...1000).contains(self.window), "--window is 1 to 1000.")
        try BenchOptions.check((0...1).contains(self.qos), "--qos is 0 or 1.")
        try BenchOptions.check((0...262_144).contains(self.size), "--size is 0 to 262144.")
        try BenchOptions.check(self.rate.map { (0.1...1e8).contains($0) } ?? true, "--rate is 0.1 to 100000000.")
        try BenchOptions.check(!(self.idle && self.readBack.read), "--idle sends nothing that --read could read.")
        try self.readBack.check(bodyBytes: self.size)
        try PropertyOption.check(self.property)
    }

    /// Makes the devices, loads the hub, and deletes the devices whatever happened.
    func measured(
        _ target: HubTarget,
        tell: @escaping @Sendable (String) -> Void = { _ in }
    ) async throws -> BenchReport {
        try await self.options.withDevices(of: target) { key in
            try await self.readBack.withReader(of: target) { reader in
                let run = BenchRun(
                    plan: self.plan(target, key: key),
                    seconds: self.options.seconds,
                    warmUpSeconds: self.options.warmUp,
                    isIdle: self.idle,
                    processID: self.options.pid ?? target.file?.processID,
                    reader: reader
                )
                return try await run.run(progress: tell)
            }
        }
    }

    /// What the generator does.
    func plan(_ target: HubTarget, key: String) -> LoadPlan {
        var plan = LoadPlan(address: target.address, key: key)
        plan.devices = self.options.devices
        plan.prefix = self.options.prefix
        plan.isAcknowledged = self.qos == 1
        plan.bodyBytes = self.size
        plan.window = self.window
        plan.rate = self.rate
        plan.connecting = self.options.parallel
        plan.sourceAddresses = self.options.sourceAddresses
        plan.threads = min(self.options.threads, self.options.devices)
        plan.propertyBag = SendTelemetryCommand.message(properties: self.property).propertyBag
        return plan
    }
}
