// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Crypto
import FoundationEssentials
import HubClient

/// What all load generators have in common.
struct BenchOptions: ParsableArguments {
    @Option(name: .long, help: .init("How many devices.", valueName: "count"))
    var devices = 100

    @Option(name: .long, help: .init("For how long to measure.", valueName: "seconds"))
    var seconds = 10.0

    @Option(name: .long, help: .init("For how long to work before measuring.", valueName: "seconds"))
    var warmUp = 1.0

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
        try Self.check((1...1_000_000).contains(self.devices), "--devices is 1 to 1000000.")
        try Self.check((0.1...86_400).contains(self.seconds), "--seconds is 0.1 to 86400.")
        try Self.check((0...3600).contains(self.warmUp), "--warm-up is 0 to 3600.")
        try Self.check((1...10_000).contains(self.parallel), "--parallel is 1 to 10000.")
        try Self.check((1...60_000).contains(self.sourceAddresses), "--source-addresses is 1 to 60000.")
        try Self.check((1...64).contains(self.threads), "--threads is 1 to 64.")
    }

    /// Refuses options with a sentence.
    static func check(_ isRight: Bool, _ text: String) throws {
        guard isRight else { throw ValidationError(text) }
    }

    /// The ids of the devices.
    var ids: [String] { (0..<self.devices).map { "\(self.prefix)\($0)" } }

    /// The devices and how they connect.
    func fleet(_ target: HubTarget, key: String) -> FleetPlan {
        var plan = FleetPlan(address: target.address, devices: self.ids.map { .init(id: $0, key: key) })
        plan.connecting = self.parallel
        plan.sourceAddresses = self.sourceAddresses
        plan.threads = min(self.threads, self.devices)
        // Loads end before that: no pings disturb what is measured.
        plan.limits.keepAliveSeconds = 1200
        plan.limits.connect = .seconds(60)
        return plan
    }

    /// Measures with these options.
    func run(of target: HubTarget, operation: String) -> OperationRun {
        OperationRun(
            operation: operation,
            seconds: self.seconds,
            warmUpSeconds: self.warmUp,
            processID: self.pid ?? target.file?.processID
        )
    }

    /// Makes the devices, runs `body` with their key, and deletes them whatever happened.
    func withDevices<Result: Sendable>(
        of target: HubTarget,
        _ body: (_ key: String) async throws -> Result
    ) async throws -> Result {
        let key = self.key ?? SymmetricKey(size: .bits256).withUnsafeBytes { Data($0).base64EncodedString() }
        let result: Result
        do {
            try await self.makeDevices(of: target, key: key)
            result = try await body(key)
        } catch {
            // In a task of its own: what cancelled this one must not keep the devices.
            await Task { await self.deleteDevicesAfterFailure(of: target) }.value
            throw error
        }
        try await self.deleteDevices(of: target)
        return result
    }

    /// Tells of devices that stay; the error that ended the load is the one to report.
    private func deleteDevicesAfterFailure(of target: HubTarget) async {
        do {
            try await self.deleteDevices(of: target)
        } catch {
            note("devices '\(self.prefix)N' could not be deleted: \(error)")
        }
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
        let result = try await changeDevices(self.ids.map(change), of: target)
        // A load that was interrupted early did not make all of its devices.
        let failures = result.errors.filter { $0.errorCode != "DeviceNotFound" }
        if let failure = failures.first {
            note("Error: \(failure.deviceID ?? "a device"): \(failure.errorStatus ?? failure.errorCode)")
            throw CommandError.partlyDone(failures: failures.count)
        }
    }
}
