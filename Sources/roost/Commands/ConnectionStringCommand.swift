// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import FoundationEssentials
import HubClient
import HubModel

/// `roost connection-string`: one line on standard output, nothing else.
struct ConnectionStringCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "connection-string",
        abstract: "Print the connection string of a service, an event reader or a device.",
        discussion: "It holds a key: whoever has it can sign in.",
        subcommands: [
            ServiceConnectionStringCommand.self, EventHubConnectionStringCommand.self,
            DeviceConnectionStringCommand.self,
        ]
    )
}

/// `roost connection-string service`.
struct ServiceConnectionStringCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "service",
        abstract: "What service SDKs and the az CLI sign in with."
    )

    @Option(name: .long, help: .init("The shared access policy.", valueName: "name"))
    var policy = PolicyName.owner

    @OptionGroup var hub: HubOptions
    @OptionGroup var output: OutputOptions

    func run() async throws {
        try await reportingErrors {
            let string = try self.hub.resolve().serviceConnectionString(policy: self.policy)
            try printConnectionString(string, json: self.output.json)
        }
    }
}

/// `roost connection-string eventhub`.
struct EventHubConnectionStringCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "eventhub",
        abstract: "What readers of the built-in Event Hubs-compatible endpoint sign in with."
    )

    @Option(name: .long, help: .init("The shared access policy; it needs the right ServiceConnect.", valueName: "name"))
    var policy = PolicyName.service

    @OptionGroup var hub: HubOptions
    @OptionGroup var output: OutputOptions

    func run() async throws {
        try await reportingErrors {
            let string = try self.hub.resolve().eventHubConnectionString(policy: self.policy)
            try printConnectionString(string, json: self.output.json)
        }
    }
}

/// `roost connection-string device`: asks the running hub for the device's key.
struct DeviceConnectionStringCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "device",
        abstract: "What a device signs in with; the hub must be running."
    )

    @Argument(help: .init("The id of the device.", valueName: "id"))
    var id: String

    @Flag(name: .long, help: "With the second key.")
    var secondary = false

    @OptionGroup var hub: HubOptions
    @OptionGroup var output: OutputOptions

    func run() async throws {
        try await reportingErrors {
            let target = try self.hub.resolve()
            let device = try await target.withService { try await $0.device(self.id).value }
            let key = try Self.key(of: device, secondary: self.secondary)
            let string = ConnectionString(
                peer: .device(id: device.deviceID),
                hostName: target.address.bareHostName,
                key: key
            )
            try printConnectionString(string, json: self.output.json)
        }
    }

    /// The key of a device.
    ///
    /// - Throws: ``CommandError/noKey(id:)`` when it signs in with a certificate.
    static func key(of device: DeviceIdentity, secondary: Bool = false) throws(CommandError) -> String {
        try device.authentication.key(secondary: secondary, of: device.deviceID)
    }
}

extension DeviceIdentity.Authentication? {
    /// One of the two keys.
    ///
    /// - Throws: ``CommandError/noKey(id:)`` when there is none.
    func key(secondary: Bool, of id: String) throws(CommandError) -> String {
        let keys = self?.symmetricKey
        guard let key = secondary ? keys?.secondaryKey : keys?.primaryKey, !key.isEmpty else { throw .noKey(id: id) }
        return key
    }
}

/// Prints a connection string, alone on its line or as the only member of an object.
func printConnectionString(_ string: ConnectionString, json: Bool) throws {
    guard json else { return say(string.text) }
    let encoder = JSONEncoder()
    encoder.outputFormatting = .withoutEscapingSlashes
    let document = try encoder.encode(["connectionString": string.text])
    say(String(decoding: document, as: UTF8.self))
}
