// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import ArgumentParser

/// The program: one command with a server, an administrator's tools and a client.
@main
struct Roost: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "roost",
        abstract: "A self-hosted IoT hub that speaks Azure IoT Hub's protocols.",
        version: RoostVersion.current,
        groupedSubcommands: [
            CommandGroup(name: "Server", subcommands: serverCommands),
            CommandGroup(name: "Client", subcommands: clientCommands),
        ]
    )

    /// What runs, or works on, the hub of a data directory.
    static let serverCommands: [any ParsableCommand.Type] = [
        ServeCommand.self, InitCommand.self, BackupCommand.self, LogCommand.self, VersionCommand.self, DocsCommand.self,
    ]

    /// What talks to a running hub as any client does.
    static let clientCommands: [any ParsableCommand.Type] = [
        DeviceCommand.self, ModuleCommand.self, TwinCommand.self, MethodCommand.self, CommandQueueCommand.self,
        ConnectionStringCommand.self,
        EventsCommand.self, SendTelemetryCommand.self, SimulateCommand.self, AuthorityCommand.self, BenchCommand.self,
    ]
}
