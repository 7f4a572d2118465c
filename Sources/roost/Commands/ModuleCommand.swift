// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import FoundationEssentials
import HubClient
import HubModel

/// `roost module`: the modules of a device.
struct ModuleCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "module",
        abstract: "Create, show, list and delete the modules of a device.",
        subcommands: [
            ModuleCreateCommand.self, ModuleShowCommand.self, ModuleListCommand.self, ModuleDeleteCommand.self,
            ModuleConnectionStringCommand.self,
        ]
    )
}

/// A module of a device, by two ids.
struct ModuleOptions: ParsableArguments {
    @Argument(help: .init("The id of the device.", valueName: "device"))
    var device: String

    @Argument(help: .init("The id of the module.", valueName: "module"))
    var module: String
}

/// `roost module create`.
struct ModuleCreateCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "create",
        abstract: "Create a module.",
        discussion: """
            Without keys the hub makes them; 'roost module connection-string DEVICE MODULE' prints what the module needs.
            """
    )

    @OptionGroup var id: ModuleOptions

    @OptionGroup var signIn: SignInOptions

    @Option(name: .long, help: .init("Who manages it, in your words.", valueName: "text"))
    var managedBy: String?

    @OptionGroup var hub: HubOptions
    @OptionGroup var output: OutputOptions

    func run() async throws {
        try await reportingErrors {
            var module = ModuleIdentity(deviceID: self.id.device, moduleID: self.id.module)
            module.managedBy = self.managedBy
            module.authentication = self.signIn.authentication
            let wanted = module
            show(try await self.hub.resolve().withService { try await $0.create(wanted) }, json: self.output.json)
        }
    }
}

/// `roost module show`.
struct ModuleShowCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(commandName: "show", abstract: "Show one module.")

    @OptionGroup var id: ModuleOptions
    @OptionGroup var hub: HubOptions
    @OptionGroup var output: OutputOptions

    func run() async throws {
        try await reportingErrors {
            let answer = try await self.hub.resolve().withService {
                try await $0.module(self.id.module, of: self.id.device)
            }
            show(answer, json: self.output.json)
        }
    }
}

/// `roost module list`.
struct ModuleListCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(commandName: "list", abstract: "List the modules of a device.")

    @Argument(help: .init("The id of the device.", valueName: "device"))
    var device: String

    @OptionGroup var hub: HubOptions
    @OptionGroup var output: OutputOptions

    func run() async throws {
        try await reportingErrors {
            let answer = try await self.hub.resolve().withService { try await $0.modules(of: self.device) }
            if self.output.json {
                say(answer.text)
            } else {
                say(DeviceText.table(answer.value), terminator: "")
            }
        }
    }
}

/// `roost module delete`.
struct ModuleDeleteCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "delete",
        abstract: "Delete a module; its connection is dropped at once."
    )

    @OptionGroup var id: ModuleOptions

    @Option(name: .long, help: .init("Only if the module has this etag.", valueName: "etag"))
    var ifMatch: String?

    @OptionGroup var hub: HubOptions
    @OptionGroup var output: OutputOptions

    func run() async throws {
        try await reportingErrors {
            try await self.hub.resolve().withService {
                try await $0.deleteModule(self.id.module, of: self.id.device, ifMatch: self.ifMatch)
            }
            say(
                self.output.json
                    ? #"{"deleted":1}"# : "deleted \(printable(self.id.device))/\(printable(self.id.module))"
            )
        }
    }
}

/// `roost module connection-string`: asks the running hub for the module's key.
struct ModuleConnectionStringCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "connection-string",
        abstract: "Print what a module signs in with; the hub must be running.",
        discussion: "It holds a key: whoever has it can sign in."
    )

    @OptionGroup var id: ModuleOptions

    @Flag(name: .long, help: "With the second key.")
    var secondary = false

    @OptionGroup var hub: HubOptions
    @OptionGroup var output: OutputOptions

    func run() async throws {
        try await reportingErrors {
            let target = try self.hub.resolve()
            let module = try await target.withService { try await $0.module(self.id.module, of: self.id.device).value }
            let name = "\(module.deviceID)/\(module.moduleID)"
            let string = ConnectionString(
                peer: .module(deviceID: module.deviceID, moduleID: module.moduleID),
                hostName: target.address.bareHostName,
                key: try module.authentication.key(secondary: self.secondary, of: name)
            )
            try printConnectionString(string, json: self.output.json)
        }
    }
}

/// Prints one module.
private func show(_ answer: ServiceClient.Answer<ModuleIdentity>, json: Bool) {
    if json {
        say(answer.text)
    } else {
        say(DeviceText.sheet(answer.value), terminator: "")
    }
}
