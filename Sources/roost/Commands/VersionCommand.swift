// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import ArgumentParser

/// `roost version`: one line for people and for scripts.
struct VersionCommand: ParsableCommand {
    static let configuration = CommandConfiguration(commandName: "version", abstract: "Print the version.")

    @Flag(name: .long, help: "Print a JSON object.")
    var json = false

    func run() {
        say(json ? #"{"version":"\#(RoostVersion.current)"}"# : "roost \(RoostVersion.current)")
    }
}
