// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import FoundationEssentials
import HubClient
import HubModel

/// The options by which every client command finds its hub.
struct HubOptions: ParsableArguments {
    @Option(
        name: .long,
        help: .init(
            "The hub's data directory (environment ROOST_DATA, else \(DataDirectory.defaultPath)).",
            valueName: "directory"
        )
    )
    var data: String?

    @Option(
        name: .long,
        help: .init("A connection string instead (environment ROOST_CONNECTION_STRING).", valueName: "text")
    )
    var connectionString: String?

    @Option(
        name: .long,
        help: .init("Connect to this host, not to the one in the connection string.", valueName: "host")
    )
    var connect: String?

    @Option(
        name: .long,
        help: .init("The certificate authority to trust, as PEM (environment ROOST_CA_FILE).", valueName: "file")
    )
    var caFile: String?

    @Option(name: .long, help: .init("The port of HTTPS, if not the usual one.", valueName: "port"))
    var httpsPort: Int?

    @Option(name: .long, help: .init("The port of MQTT, if not the usual one.", valueName: "port"))
    var mqttPort: Int?

    @Option(name: .long, help: .init("The port of AMQP, if not the usual one.", valueName: "port"))
    var amqpPort: Int?

    @Flag(name: .long, help: "Use the listeners without TLS (a hub started with --plain).")
    var plain = false

    /// The hub that the options, or else the environment, or else the data directory name.
    ///
    /// - Parameter environment: the variables of the process.
    /// - Returns: the hub and what to sign in with.
    /// - Throws: ``HubFileError`` or ``ConnectionStringError``.
    func resolve(environment: [String: String] = ProcessInfo.processInfo.environment) throws -> HubTarget {
        var target: HubTarget
        if let text = self.connectionString {
            target = try HubTarget(connectionString: .init(parsing: text), plain: self.plain)
        } else if let directory = self.data {
            target = try HubTarget(dataDirectory: directory, plain: self.plain)
        } else if let text = environment["ROOST_CONNECTION_STRING"], !text.isEmpty {
            target = try HubTarget(connectionString: .init(parsing: text), plain: self.plain)
        } else {
            let directory = DataDirectory.path(option: nil, environment: environment)
            target = try HubTarget(dataDirectory: directory, plain: self.plain)
        }
        if let file = self.caFile ?? environment["ROOST_CA_FILE"].flatMap({ $0.isEmpty ? nil : $0 }) {
            target.address.trust = .authorities(file: file)
        }
        target.address.connectHost = self.connect ?? target.address.connectHost
        target.address.httpsPort = self.httpsPort ?? target.address.httpsPort
        target.address.mqttPort = self.mqttPort ?? target.address.mqttPort
        target.address.amqpPort = self.amqpPort ?? target.address.amqpPort
        return target
    }
}

/// The option for programs that read what a command prints.
struct OutputOptions: ParsableArguments {
    @Flag(name: .long, help: "Print JSON, for programs.")
    var json = false
}

/// Where data directories are when nobody says where.
enum DataDirectory {
    /// The directory that is used when nothing names one.
    static let defaultPath = "./roost-data"

    /// The directory to use.
    ///
    /// - Parameters:
    ///   - option: what the user said on the command line.
    ///   - environment: the variables of the process.
    /// - Returns: a path that may be relative.
    static func path(option: String?, environment: [String: String]) -> String {
        if let option {
            return option
        }
        if let path = environment["ROOST_DATA"], !path.isEmpty {
            return path
        }
        return self.defaultPath
    }
}
