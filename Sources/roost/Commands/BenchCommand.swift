// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Crypto
import FoundationEssentials
import HubClient
import HubModel
import NIOPosix

/// `roost bench`: a load generator by which a user sizes a machine.
struct BenchCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "bench",
        abstract: "Load a hub with many devices and tell what it does and costs.",
        discussion: """
            Devices load-0, load-1, ... are made by the bulk call, sign in by SAS over MQTT, publish, and are deleted \
            again. Without --rate each publishes as fast as its window of unacknowledged messages allows. Latencies are \
            taken with one clock on this machine; the server's CPU and memory are read from /proc, so they are there \
            when it runs on this machine too.

            With --read the events are read back over AMQP, and the time from the writing of a PUBLISH to the event \
            decoded is told as well; the reader's CPU then counts with the generator's.
            """
    )

    @Option(name: .long, help: .init("How many devices.", valueName: "count"))
    var devices = 100

    @Option(name: .long, help: .init("Unacknowledged messages of a device.", valueName: "count"))
    var window = 16

    @Option(name: .long, help: .init("Messages a second of all devices together.", valueName: "number"))
    var rate: Double?

    @Option(name: .long, help: .init("1: acknowledged. 0: not.", valueName: "0|1"))
    var qos = 1

    @Option(name: .long, help: .init("Bytes in the body of a message.", valueName: "bytes"))
    var size = 256

    @Option(name: .long, help: .init("For how long to measure.", valueName: "seconds"))
    var seconds = 10.0

    @Option(name: .long, help: .init("For how long to publish before measuring.", valueName: "seconds"))
    var warmUp = 1.0

    @Flag(name: .long, help: "Only hold the connections: tells the memory of each.")
    var idle = false

    @Flag(name: .long, help: "Read the events back and tell the end-to-end latency.")
    var read = false

    @Option(name: .long, help: .init("The consumer group to read with.", valueName: "name"))
    var consumerGroup = "$Default"

    @Option(name: .shortAndLong, help: .init("A property of each message; may be repeated.", valueName: "name=value"))
    var property: [String] = []

    @Option(name: .long, help: .init("What the ids of the devices begin with.", valueName: "text"))
    var prefix = "load-"

    @Option(
        name: .long,
        help: .init("The devices are there already and have this key: none are made or deleted.", valueName: "base64")
    )
    var key: String?

    @Flag(name: .long, help: "Do not delete the devices afterwards.")
    var keep = false

    @Option(name: .long, help: .init("The server's process, if hub.json does not tell.", valueName: "pid"))
    var pid: Int32?

    @Option(name: .long, help: .init("How many connections to make at once.", valueName: "count"))
    var parallel = 64

    @Option(
        name: .long,
        help: .init("Loopback addresses to connect from, for over 28,000 devices.", valueName: "count")
    )
    var sourceAddresses = 1

    @Option(name: .long, help: .init("Threads of the generator.", valueName: "count"))
    var threads = 1

    @OptionGroup var hub: HubOptions
    @OptionGroup var output: OutputOptions

    func validate() throws {
        try check((1...1_000_000).contains(self.devices), "--devices is 1 to 1000000.")
        try check((1...1000).contains(self.window), "--window is 1 to 1000.")
        try check((0...1).contains(self.qos), "--qos is 0 or 1.")
        try check((0...262_144).contains(self.size), "--size is 0 to 262144.")
        try check((0.1...86_400).contains(self.seconds), "--seconds is 0.1 to 86400.")
        try check((0...3600).contains(self.warmUp), "--warm-up is 0 to 3600.")
        try check(self.rate.map { (0.1...1e8).contains($0) } ?? true, "--rate is 0.1 to 100000000.")
        try check((1...10_000).contains(self.parallel), "--parallel is 1 to 10000.")
        try check((1...60_000).contains(self.sourceAddresses), "--source-addresses is 1 to 60000.")
        try check((1...64).contains(self.threads), "--threads is 1 to 64.")
        try check(!(self.idle && self.read), "--idle sends nothing that --read could read.")
        try check(
            !self.read || self.size >= LoadBody.bytesMin,
            "with --read a message carries its time: --size is at least \(LoadBody.bytesMin)."
        )
    }

    func run() async throws {
        // A connection is a descriptor, and the usual limit is 1,024.
        _ = ProcessLimits.raiseDescriptors()
        try await reportingErrors {
            let report = try await self.measured(self.hub.resolve())
            if self.output.json {
                let encoder = JSONEncoder()
                encoder.outputFormatting = [.prettyPrinted, .sortedKeys]
                print(String(decoding: try encoder.encode(report), as: UTF8.self))
            }
            if report.hasFailures {
                throw ExitCode(ExitStatus.failure)
            }
        }
    }

    /// Makes the devices, loads the hub, and deletes the devices whatever happened.
    func measured(_ target: HubTarget) async throws -> BenchReport {
        let key = self.key ?? SymmetricKey(size: .bits256).withUnsafeBytes { Data($0).base64EncodedString() }
        try await self.makeDevices(of: target, key: key)
        let report: BenchReport
        do {
            report = try await self.bench(target, key: key)
        } catch {
            try await self.deleteDevices(of: target)
            throw error
        }
        try await self.deleteDevices(of: target)
        return report
    }

    private func bench(_ target: HubTarget, key: String) async throws -> BenchReport {
        var run = BenchRun(
            plan: self.plan(target, key: key),
            seconds: self.seconds,
            warmUpSeconds: self.warmUp,
            isIdle: self.idle,
            processID: self.pid ?? target.file?.processID
        )
        let isJSON = self.output.json
        let tell: @Sendable (String) -> Void = { isJSON ? note($0) : print($0) }
        guard self.read else { return try await run.run(progress: tell) }
        let reader = try await LoadReader.open(target, consumerGroup: self.consumerGroup)
        run.reader = reader
        do {
            let report = try await run.run(progress: tell)
            try await reader.close()
            return report
        } catch {
            try await reader.close()
            throw error
        }
    }

    /// What the generator does.
    func plan(_ target: HubTarget, key: String) -> LoadPlan {
        var plan = LoadPlan(address: target.address, key: key)
        plan.devices = self.devices
        plan.prefix = self.prefix
        plan.isAcknowledged = self.qos == 1
        plan.bodyBytes = self.size
        plan.window = self.window
        plan.rate = self.rate
        plan.connecting = self.parallel
        plan.sourceAddresses = self.sourceAddresses
        plan.threads = min(self.threads, self.devices)
        plan.propertyBag = SendTelemetryCommand.message(properties: self.property).propertyBag
        return plan
    }

    private func makeDevices(of target: HubTarget, key: String) async throws {
        guard self.key == nil else { return }
        let keys = DeviceIdentity.Authentication.keys(primary: key, secondary: key)
        try await self.changeAll(of: target) { id in
            BulkChange(id: id, importMode: .createOrUpdate, status: "enabled", authentication: keys)
        }
    }

    private func deleteDevices(of target: HubTarget) async throws {
        guard self.key == nil, !self.keep else { return }
        try await self.changeAll(of: target) { BulkChange(id: $0, importMode: .delete) }
    }

    private func changeAll(of target: HubTarget, _ change: (String) -> BulkChange) async throws {
        let changes = (0..<self.devices).map { change("\(self.prefix)\($0)") }
        let result = try await changeDevices(changes, of: target)
        if let failure = result.errors.first {
            note("Error: \(failure.deviceID ?? "a device"): \(failure.errorStatus ?? failure.errorCode)")
            throw CommandError.partlyDone(failures: result.errors.count)
        }
    }

    private func check(_ isRight: Bool, _ text: String) throws {
        guard isRight else { throw ValidationError(text) }
    }
}
