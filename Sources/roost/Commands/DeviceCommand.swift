// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import FoundationEssentials
import HubClient

/// `roost device`: the registry.
struct DeviceCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "device",
        abstract: "Create, show, list, change and delete devices.",
        subcommands: [
            DeviceCreateCommand.self, DeviceShowCommand.self, DeviceListCommand.self, DeviceUpdateCommand.self,
            DeviceDeleteCommand.self,
        ]
    )
}

/// `roost device show`.
struct DeviceShowCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(commandName: "show", abstract: "Show one device.")

    @Argument(help: .init("The id of the device.", valueName: "id"))
    var id: String

    @OptionGroup var hub: HubOptions
    @OptionGroup var output: OutputOptions

    func run() async throws {
        try await reportingErrors {
            let answer = try await self.hub.resolve().withService { try await $0.device(self.id) }
            show(answer, json: self.output.json)
        }
    }
}

/// `roost device list`.
struct DeviceListCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(commandName: "list", abstract: "List devices, up to 1,000.")

    @Option(name: .long, help: .init("List at most so many.", valueName: "count"))
    var top = 1000

    @OptionGroup var hub: HubOptions
    @OptionGroup var output: OutputOptions

    func validate() throws {
        guard (1...1000).contains(self.top) else { throw ValidationError("--top is 1 to 1000.") }
    }

    func run() async throws {
        try await reportingErrors {
            let answer = try await self.hub.resolve().withService { try await $0.devices(top: self.top) }
            if self.output.json {
                say(answer.text)
                return
            }
            say(DeviceText.table(answer.value), terminator: "")
            if answer.value.count == self.top {
                note("There may be more: the first \(self.top) are shown.")
            }
        }
    }
}

/// `roost device update`.
struct DeviceUpdateCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "update",
        abstract: "Change a device; what no option names stays.",
        discussion: "Disabling a device drops its connections at once."
    )

    @Argument(help: .init("The id of the device.", valueName: "id"))
    var id: String

    @Option(name: .long, help: .init("enabled or disabled.", valueName: "status"))
    var status: String?

    @Option(name: .long, help: .init("Why, in your words.", valueName: "text"))
    var statusReason: String?

    @Option(name: .long, help: .init("A new first key, base64 of 16 to 64 bytes.", valueName: "base64"))
    var primaryKey: String?

    @Option(name: .long, help: .init("A new second key, base64 of 16 to 64 bytes.", valueName: "base64"))
    var secondaryKey: String?

    @Option(name: .long, help: .init("A new first thumbprint of a certificate: hexadecimal digits.", valueName: "hex"))
    var thumbprint: String?

    @Option(name: .long, help: .init("A new second thumbprint.", valueName: "hex"))
    var secondaryThumbprint: String?

    @Flag(name: .long, help: "Let the hub make both keys anew.")
    var newKeys = false

    @Option(name: .long, help: .init("Only if the device has this etag.", valueName: "etag"))
    var ifMatch: String?

    @OptionGroup var hub: HubOptions
    @OptionGroup var output: OutputOptions

    func validate() throws {
        if let status, !["enabled", "disabled"].contains(status) {
            throw ValidationError("--status is 'enabled' or 'disabled'.")
        }
        if self.newKeys, self.primaryKey != nil || self.secondaryKey != nil {
            throw ValidationError("Give either --new-keys or the keys.")
        }
        let hasKeys = self.newKeys || self.primaryKey != nil || self.secondaryKey != nil
        let hasThumbprints = self.thumbprint != nil || self.secondaryThumbprint != nil
        guard !hasKeys || !hasThumbprints else { throw ValidationError("Give either keys or thumbprints.") }
        guard self.status != nil || self.statusReason != nil || hasKeys || hasThumbprints else {
            throw ValidationError("Say what to change: --status, --status-reason, keys or thumbprints.")
        }
    }

    func run() async throws {
        try await reportingErrors {
            let answer = try await self.hub.resolve().withService { service in
                let device = try await service.device(self.id).value
                // The etag that was read goes back, so that a change made meanwhile is not overwritten.
                return try await service.update(self.changed(device), ifMatch: self.ifMatch ?? device.etag)
            }
            show(answer, json: self.output.json)
        }
    }

    /// The identity with what the options name.
    func changed(_ device: DeviceIdentity) -> DeviceIdentity {
        var device = device
        device.status = self.status ?? device.status
        device.statusReason = self.statusReason ?? device.statusReason
        let keys = device.authentication?.symmetricKey
        if self.newKeys {
            device.authentication = .keys(primary: "", secondary: "")
        } else if self.primaryKey != nil || self.secondaryKey != nil {
            device.authentication = .keys(
                primary: self.primaryKey ?? keys?.primaryKey,
                secondary: self.secondaryKey ?? keys?.secondaryKey
            )
        } else if self.thumbprint != nil || self.secondaryThumbprint != nil {
            let thumbprints = device.authentication?.x509Thumbprint
            device.authentication = .thumbprints(
                primary: self.thumbprint ?? thumbprints?.primaryThumbprint,
                secondary: self.secondaryThumbprint ?? thumbprints?.secondaryThumbprint
            )
        }
        return device
    }
}

/// Prints one device.
func show(_ answer: ServiceClient.Answer<DeviceIdentity>, json: Bool) {
    if json {
        say(answer.text)
    } else {
        say(DeviceText.sheet(answer.value), terminator: "")
    }
}
