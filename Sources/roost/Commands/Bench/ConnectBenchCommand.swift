// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import HubClient

/// `roost bench connect`: connections made and given up.
struct ConnectBenchCommand: OperationLoadCommand, DeviceLoadCommand {
    static let configuration = CommandConfiguration(
        commandName: "connect",
        abstract: "Connect, sign in and leave again, over and over.",
        discussion: """
            As many devices as --parallel says connect at once, each by TCP, TLS (unless --plain) and a CONNECT with a SAS \
            token; with the CONNACK the connection counts, and the device leaves. The latency is from the first packet to \
            the CONNACK.
            """
    )

    @OptionGroup var options: BenchOptions

    /// Makes the devices, lets them connect, and deletes them whatever happened.
    func measured(_ target: HubTarget) async throws -> OperationReport {
        try await self.options.withDevices(of: target) { key in
            try await ConnectLoad.with(self.options.fleet(target, key: key)) { load in
                try await self.options.run(of: target, operation: "connects").run(load) { $0.signIns }
            }
        }
    }
}
