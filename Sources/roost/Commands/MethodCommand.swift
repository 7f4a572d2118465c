// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import FoundationEssentials
import HubClient
import JSON

/// `roost method`: direct methods.
struct MethodCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "method",
        abstract: "Call methods of connected devices.",
        subcommands: [MethodInvokeCommand.self]
    )
}

/// `roost method invoke`.
struct MethodInvokeCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "invoke",
        abstract: "Call a method of a device or module and show its answer.",
        discussion: """
            The first line is the status that the device answered with, what follows its payload. A status is the device's \
            own word and makes no exit code; a device that is not there or does not answer does.

                roost method invoke my-device reboot --payload '{"delaySeconds":5}' --timeout 10
            """
    )

    @OptionGroup var identity: IdentityOptions

    @Argument(help: .init("The name of the method.", valueName: "name"))
    var name: String

    @Option(name: .shortAndLong, help: .init("JSON for the device: a text, @FILE or @-.", valueName: "json"))
    var payload: String?

    @Option(name: .long, help: .init("How long the device may take, 5 to 300.", valueName: "seconds"))
    var timeout = 30

    @Option(
        name: .long,
        help: .init("How long to wait for a device that is not connected, 0 to 300.", valueName: "seconds")
    )
    var connectTimeout = 0

    @OptionGroup var hub: HubOptions
    @OptionGroup var output: OutputOptions

    func validate() throws {
        guard (5...300).contains(self.timeout) else { throw ValidationError("--timeout is 5 to 300.") }
        guard (0...300).contains(self.connectTimeout) else { throw ValidationError("--connect-timeout is 0 to 300.") }
    }

    func run() async throws {
        try await reportingErrors {
            let payload = try self.payload.map { try JSONArgument.read($0, name: "--payload") }
            let answer = try await self.hub.resolve().withService {
                try await $0.invoke(
                    self.name,
                    on: self.identity.id,
                    payload: payload,
                    responseSeconds: self.timeout,
                    connectSeconds: self.connectTimeout
                )
            }
            say(self.output.json ? answer.text : Self.text(answer))
        }
    }

    /// The answer for people.
    static func text(_ answer: ServiceClient.Answer<ServiceClient.MethodAnswer>) -> String {
        let document = try? JSONDocument(parsing: answer.text)
        guard let payload = document?.root["payload"], !payload.isNull else { return "status \(answer.value.status)" }
        return "status \(answer.value.status)\n\(PrettyJSON.text(payload))"
    }
}
