// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import FoundationEssentials
import HubClient
import HubModel
import NIOCore

/// `roost c2d`: commands that wait for devices.
struct CommandQueueCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "c2d",
        abstract: "Send commands to devices, see how many wait, and what became of them.",
        subcommands: [
            CommandSendCommand.self, CommandListCommand.self, CommandPurgeCommand.self, CommandFeedbackCommand.self,
        ]
    )
}

/// `roost c2d send`: over AMQP, as services do.
struct CommandSendCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "send",
        abstract: "Queue a command for a device.",
        discussion: """
            The command waits, durably, until the device takes it or it expires. With --ack 'roost c2d feedback' tells \
            what became of it.
            """
    )

    @Argument(help: .init("The id of the device.", valueName: "device"))
    var device: String

    @Argument(help: .init("What the command holds: a text, or @FILE or @- with any bytes.", valueName: "body"))
    var body = ""

    @Option(name: .shortAndLong, help: .init("A property; may be repeated.", valueName: "name=value"))
    var property: [String] = []

    @Option(name: .long, help: .init("The id by which feedback names it, else a new one.", valueName: "text"))
    var messageID: String?

    @Option(name: .long, help: .init("The id of what it belongs to.", valueName: "text"))
    var correlationID: String?

    @Option(name: .long, help: .init("The media type of the body.", valueName: "type"))
    var contentType: String?

    @Option(name: .long, help: .init("The encoding of the body.", valueName: "name"))
    var contentEncoding: String?

    @Option(name: .long, help: .init("Feedback wanted: none, positive, negative or full.", valueName: "mode"))
    var ack: String?

    @Option(name: .long, help: .init("Expire after so long, else when the hub says.", valueName: "seconds"))
    var expiry: Double?

    @Option(name: .shortAndLong, help: .init("Send it so many times.", valueName: "count"))
    var count = 1

    @OptionGroup var hub: HubOptions
    @OptionGroup var output: OutputOptions

    func validate() throws {
        if let ack, FeedbackMode(text: ack) == nil {
            throw ValidationError("--ack is none, positive, negative or full.")
        }
        guard self.expiry.map({ $0 > 0 && $0 <= 1e7 }) ?? true else {
            throw ValidationError("--expiry is more than 0.")
        }
        guard (1...100_000).contains(self.count) else { throw ValidationError("--count is 1 to 100000.") }
        guard self.count == 1 || self.messageID == nil else {
            throw ValidationError("--message-id goes with one command.")
        }
        try PropertyOption.check(self.property)
    }

    func run() async throws {
        try await reportingErrors {
            let body =
                self.body.hasPrefix("@")
                ? ByteBuffer(bytes: try InputFile.bytes(String(self.body.dropFirst()))) : ByteBuffer(string: self.body)
            let target = try self.hub.resolve()
            let policy = try target.policy()
            let sender = try await CommandSender.open(address: target.address, policy: policy.name, key: policy.key)
            var ids: [String] = []
            do {
                for _ in 0..<self.count {
                    let command = self.command(body: body)
                    try await sender.send(command)
                    ids.append(command.messageID ?? "")
                }
            } catch {
                if !ids.isEmpty {
                    note("\(grouped(ids.count)) of \(grouped(self.count)) were sent before that.")
                }
                await sender.close()
                throw error
            }
            await sender.close()
            say(self.summary(ids))
        }
    }

    /// The command that the options describe.
    func command(body: ByteBuffer, now: Date = Date()) -> OutgoingCommand {
        var command = OutgoingCommand(device: self.device, body: body)
        command.messageID = self.messageID ?? UUID().uuidString.lowercased()
        command.correlationID = self.correlationID
        command.contentType = self.contentType
        command.contentEncoding = self.contentEncoding
        command.acknowledgement = self.ack.flatMap { FeedbackMode(text: $0) }
        command.expiresMilliseconds = self.expiry.map { Int64((now.timeIntervalSince1970 + $0) * 1000) }
        command.properties = SendTelemetryCommand.message(properties: self.property).properties
        return command
    }

    private func summary(_ ids: [String]) -> String {
        if self.output.json {
            return #"{"sent":\#(ids.count),"messageIds":[\#(ids.map(jsonText).joined(separator: ","))]}"#
        }
        guard ids.count > 1 else { return "sent command \(printable(ids.first ?? "")) to \(printable(self.device))" }
        return "sent \(grouped(ids.count)) commands to \(printable(self.device))"
    }
}

/// `roost c2d list`: how many wait.
struct CommandListCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "list",
        abstract: "Show how many commands wait for devices.",
        discussion: """
            The API has no call that shows waiting commands themselves: only the device receives what they hold. Without \
            ids the devices for which commands wait are shown, out of the first 1,000.
            """
    )

    @Argument(help: .init("The ids of devices.", valueName: "device"))
    var devices: [String] = []

    @OptionGroup var hub: HubOptions
    @OptionGroup var output: OutputOptions

    func run() async throws {
        try await reportingErrors {
            let found = try await self.hub.resolve().withService { service in
                guard !self.devices.isEmpty else {
                    return try await service.devices(top: 1000).value.filter { ($0.cloudToDeviceMessageCount ?? 0) > 0 }
                }
                var found: [DeviceIdentity] = []
                for id in self.devices {
                    found.append(try await service.device(id).value)
                }
                return found
            }
            say(self.text(found), terminator: "")
        }
    }

    private func text(_ devices: [DeviceIdentity]) -> String {
        if self.output.json {
            let items = devices.map {
                #"{"deviceId":\#(jsonText($0.deviceID)),"waiting":\#($0.cloudToDeviceMessageCount ?? 0)}"#
            }
            return "[\(items.joined(separator: ","))]\n"
        }
        var table = Table("DEVICE", "#WAITING")
        for device in devices {
            table.add(device.deviceID, grouped(device.cloudToDeviceMessageCount ?? 0))
        }
        return table.render()
    }
}

/// `roost c2d purge`: empties a queue.
struct CommandPurgeCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "purge",
        abstract: "Take all commands that wait for a device out of its queue.",
        discussion: "Senders that asked for feedback are told that they were purged."
    )

    @Argument(help: .init("The id of the device.", valueName: "device"))
    var device: String

    @OptionGroup var hub: HubOptions
    @OptionGroup var output: OutputOptions

    func run() async throws {
        try await reportingErrors {
            let answer = try await self.hub.resolve().withService { try await $0.purgeCommands(of: self.device) }
            if self.output.json {
                say(answer.text)
                return
            }
            let count = answer.value.totalMessagesPurged
            say("purged \(grouped(count)) \(count == 1 ? "command" : "commands")")
        }
    }
}
