// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import ArgumentParser

/// `roost docs configuration`: prints the page that is kept in docs/configuration.md.
struct DocsCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "docs",
        abstract: "Print pages of the documentation that are made from the program.",
        shouldDisplay: false,
        subcommands: [ConfigurationDocs.self]
    )

    struct ConfigurationDocs: ParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "configuration",
            abstract: "Print docs/configuration.md."
        )

        func run() {
            say(ConfigurationPage.markdown, terminator: "")
        }
    }
}
