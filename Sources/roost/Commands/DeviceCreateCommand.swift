// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import FoundationEssentials
import HubClient

/// `roost device create`: one device, or many by the bulk call.
struct DeviceCreateCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "create",
        abstract: "Create a device, or many.",
        discussion: """
            Without keys the hub makes them; 'roost connection-string device ID' prints what the device needs.

            FILE of --from has a device on each line: ID[,PRIMARY-KEY[,SECONDARY-KEY]]; a line without keys signs in as the \
            options say. Lines that begin with '#' and empty ones are skipped; '-' is standard input.
            """
    )

    @Argument(help: .init("The id of the device.", valueName: "id"))
    var id: String?

    @OptionGroup var signIn: SignInOptions

    @Flag(name: .long, help: "Create it disabled.")
    var disabled = false

    @Flag(name: .long, help: "It runs IoT Edge.")
    var edge = false

    @OptionGroup var many: ManyDevices

    @Option(name: .long, help: .init("Create the devices of a file.", valueName: "file"))
    var from: String?

    @OptionGroup var hub: HubOptions
    @OptionGroup var output: OutputOptions

    func validate() throws {
        let ways = [self.id != nil, self.many.prefix != nil, self.from != nil].count { $0 }
        guard ways == 1 else {
            throw ValidationError("Give one of an id, --prefix with --count, or --from.")
        }
        try self.many.validateCount()
        if self.edge, self.id == nil {
            throw ValidationError("--edge goes with one id.")
        }
        if !self.signIn.thumbprints.isEmpty, self.id == nil {
            throw ValidationError("--thumbprint goes with one id.")
        }
    }

    func run() async throws {
        try await reportingErrors {
            let target = try self.hub.resolve()
            if let id {
                var device = DeviceIdentity(deviceID: id)
                device.status = self.status
                device.authentication = self.signIn.authentication
                device.capabilities = self.edge ? .init(iotEdge: true) : nil
                let wanted = device
                show(try await target.withService { try await $0.create(wanted) }, json: self.output.json)
                return
            }
            let changes = try self.changes()
            let result = try await changeDevices(changes, of: target)
            try report(result, of: changes.count, verb: "created", json: self.output.json)
        }
    }

    /// The items of the bulk call that the options ask for.
    func changes() throws -> [BulkChange] {
        if let from {
            return try DeviceLines.parse(try InputFile.text(from), file: InputFile.name(from)).map { line in
                let authentication =
                    line.primaryKey.map {
                        SignInOptions.keys(primary: $0, secondary: line.secondaryKey ?? self.signIn.secondaryKey)
                    }
                    ?? self.signIn.authentication
                return BulkChange(id: line.id, importMode: .create, status: self.status, authentication: authentication)
            }
        }
        return self.many.ids.map {
            BulkChange(id: $0, importMode: .create, status: self.status, authentication: self.signIn.authentication)
        }
    }

    private var status: String {
        self.disabled ? "disabled" : "enabled"
    }
}

/// `roost device delete`: one device, several, or many.
struct DeviceDeleteCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "delete",
        abstract: "Delete devices; their connections are dropped at once.",
        discussion: "What a device has sent stays in the event log until retention takes it."
    )

    @Argument(help: .init("The ids of the devices.", valueName: "id"))
    var ids: [String] = []

    @OptionGroup var many: ManyDevices

    @Option(name: .long, help: .init("Only if the device has this etag (with one id).", valueName: "etag"))
    var ifMatch: String?

    @OptionGroup var hub: HubOptions
    @OptionGroup var output: OutputOptions

    func validate() throws {
        guard self.ids.isEmpty != (self.many.prefix == nil) else {
            throw ValidationError("Give ids, or --prefix with --count.")
        }
        try self.many.validateCount()
        guard self.ifMatch == nil || self.ids.count == 1 else { throw ValidationError("--if-match goes with one id.") }
    }

    func run() async throws {
        try await reportingErrors {
            let target = try self.hub.resolve()
            if self.ids.count == 1, let id = self.ids.first {
                try await target.withService { try await $0.delete(id, ifMatch: self.ifMatch) }
                try report(.init(isSuccessful: true, errors: []), of: 1, verb: "deleted", json: self.output.json)
                return
            }
            let changes = (self.ids + self.many.ids).map { BulkChange(id: $0, importMode: .delete) }
            let result = try await changeDevices(changes, of: target)
            try report(result, of: changes.count, verb: "deleted", json: self.output.json)
        }
    }
}

/// The options that name devices by number.
struct ManyDevices: ParsableArguments {
    @Option(name: .long, help: .init("Many devices: their ids are this and a number.", valueName: "text"))
    var prefix: String?

    @Option(name: .long, help: .init("How many.", valueName: "count"))
    var count: Int?

    @Option(name: .long, help: .init("The first number.", valueName: "number"))
    var first = 0

    /// The ids, or none when no prefix was given.
    var ids: [String] {
        guard let prefix, let count else { return [] }
        return (self.first..<self.first + count).map { "\(prefix)\($0)" }
    }

    /// Refuses a prefix without a count and the other way round.
    func validateCount() throws {
        guard (self.prefix == nil) == (self.count == nil) else {
            throw ValidationError("--prefix and --count go together.")
        }
        guard (1...10_000_000).contains(self.count ?? 1), (0...1_000_000_000).contains(self.first) else {
            throw ValidationError("--count is 1 to 10000000, --first at least 0.")
        }
    }
}

/// Runs bulk calls; for more than one call the progress goes to standard error.
func changeDevices(_ changes: [BulkChange], of target: HubTarget) async throws -> BulkResult {
    try await target.withService { service in
        try await service.change(changes) { done in
            if changes.count > 1000, done.isMultiple(of: 1000) {
                note("\(grouped(done)) of \(grouped(changes.count))")
            }
        }
    }
}

/// Prints what bulk calls did.
///
/// - Throws: ``CommandError/partlyDone(failures:)`` when an item failed.
func report(_ result: BulkResult, of count: Int, verb: String, json: Bool) throws {
    if json {
        say(String(decoding: try JSONEncoder().encode(result), as: UTF8.self))
    } else {
        if !result.errors.isEmpty {
            var table = Table("DEVICE", "ERROR", "MESSAGE")
            for failure in result.errors {
                table.add(failure.deviceID ?? "-", failure.errorCode, failure.errorStatus ?? "-")
            }
            say(table.render(), terminator: "")
        }
        let done = count - result.errors.count
        say("\(verb) \(grouped(done)) \(done == 1 ? "device" : "devices")")
    }
    guard result.errors.isEmpty else { throw CommandError.partlyDone(failures: result.errors.count) }
}
