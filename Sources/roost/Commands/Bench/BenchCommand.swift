// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import ArgumentParser

/// `roost bench`: load generators by which a user sizes a machine.
struct BenchCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "bench",
        abstract: "Load a hub with many devices and tell what it does and costs.",
        discussion: """
            Devices load-0, load-1, ... are made by the bulk call, sign in by SAS, and are deleted again. Latencies are \
            taken with one clock on this machine; the server's CPU and memory are read from /proc, so they are there \
            when it runs on this machine too. Without the name of a load it is telemetry.
            """,
        subcommands: [
            TelemetryBenchCommand.self, ConnectBenchCommand.self, TwinBenchCommand.self, MethodBenchCommand.self,
            CommandBenchCommand.self, LinkBenchCommand.self, ReadBenchCommand.self,
        ],
        defaultSubcommand: TelemetryBenchCommand.self
    )
}
