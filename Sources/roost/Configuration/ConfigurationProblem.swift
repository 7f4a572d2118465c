// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

/// Where a value of the configuration was found.
enum ConfigurationSource: Hashable, Sendable, CustomStringConvertible {
    case file(String, line: Int)
    case environment(String)
    case flag(String)

    var description: String {
        switch self {
        case .file(let path, let line): "\(path):\(line)"
        case .environment(let name): "environment variable \(name)"
        case .flag(let name): name
        }
    }
}

/// One thing that is wrong with the configuration: where, what stands there, and what would be right.
struct ConfigurationProblem: Hashable, Sendable, CustomStringConvertible {
    let source: ConfigurationSource
    let text: String

    var description: String { "\(source): \(text)" }
}

/// All that is wrong with the configuration; nothing has been started.
struct InvalidConfiguration: Error, CustomStringConvertible {
    let problems: [ConfigurationProblem]

    var description: String {
        problems.map(\.description).joined(separator: "\n")
    }
}
