// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import FoundationEssentials
import HubTransport
import Yams

/// Puts the configuration together: defaults, then the file, then the environment, then flags; the last one wins.
struct ConfigurationLoader {
    /// The result, and what was odd but harmless.
    struct Loaded: Sendable {
        var configuration: Configuration
        var warnings: [String]
    }

    private var configuration = Configuration()
    private var problems: [ConfigurationProblem] = []
    private var warnings: [String] = []
    private var sources: [String: ConfigurationSource] = [:]

    /// Reads everything and checks it.
    ///
    /// - Throws: `InvalidConfiguration` with all that is wrong, not only the first thing.
    static func load(
        file: String?,
        environment: [String: String],
        flags: [(name: String, path: String, values: [String])]
    ) throws -> Loaded {
        var loader = ConfigurationLoader()
        if let file { loader.readFile(file) }
        loader.readEnvironment(environment)
        for flag in flags { loader.readFlag(flag) }
        loader.checkTogether()
        guard loader.problems.isEmpty else { throw InvalidConfiguration(problems: loader.problems) }
        return Loaded(configuration: loader.configuration, warnings: loader.warnings)
    }

    private mutating func readFile(_ path: String) {
        let text: String
        do {
            text = String(decoding: try SecretFile.read(path), as: UTF8.self)
        } catch {
            problems.append(ConfigurationProblem(source: .flag("--config"), text: "\(error)"))
            return
        }
        do {
            guard let root = try Yams.compose(yaml: text) else { return }
            guard case .mapping(let mapping) = root else {
                let source = ConfigurationSource.file(path, line: root.mark?.line ?? 1)
                return report(source, "the file must hold keys with values, as in durability: fsync")
            }
            walk(mapping, under: "", file: path)
        } catch {
            let problem = YAMLProblem(error, text: text)
            report(.file(path, line: problem.line), "this is not YAML: \(problem.reason)")
        }
    }

    private mutating func walk(_ mapping: Node.Mapping, under parent: String, file: String) {
        for (key, value) in mapping {
            let source = ConfigurationSource.file(file, line: key.mark?.line ?? 1)
            guard case .scalar(let name) = key else {
                report(source, "a key must be a plain word")
                continue
            }
            let path = parent.isEmpty ? name.string : parent + "." + name.string
            // Azure's resource has most of its keys under `properties`; both forms are taken.
            if path == "properties", case .mapping(let inner) = value {
                walk(inner, under: "", file: file)
            } else if let setting = Setting.named(path) {
                apply(setting, value, source)
            } else if Setting.all.contains(where: { $0.path.hasPrefix(path + ".") }) {
                guard case .mapping(let inner) = value else {
                    report(source, "\(path) is a group of settings, such as \(example(under: path))")
                    continue
                }
                walk(inner, under: path, file: file)
            } else {
                report(source, "\(path) is no setting\(suggestion(for: path))")
            }
        }
    }

    private mutating func apply(_ setting: Setting, _ node: Node, _ source: ConfigurationSource) {
        switch node {
        case .scalar(let scalar):
            if scalar.style == .plain && ["", "~", "null"].contains(scalar.string) { return }
            write(setting, [scalar.string], source)
        case .sequence(let nodes) where setting.isList:
            write(setting, nodes.compactMap { $0.scalar?.string }, source)
        case .sequence, .mapping, .alias:
            report(source, "\(setting.path) must be \(setting.expected)")
        }
    }

    private mutating func readEnvironment(_ environment: [String: String]) {
        let known = Dictionary(uniqueKeysWithValues: Setting.all.map { ($0.environmentName, $0) })
        for (name, value) in environment.sorted(by: { $0.key < $1.key })
        where name.hasPrefix("ROOST_") && !value.isEmpty {
            let source = ConfigurationSource.environment(name)
            if name == "ROOST_DATA", let setting = Setting.named("dataDirectory") {
                write(setting, [value], source)
            } else if let setting = known[name] {
                let values = setting.isList ? value.split(separator: " ").map(String.init) : [value]
                write(setting, values, source)
            } else if !Self.otherNames.contains(name) {
                // Not refused: Kubernetes sets such names for a service called roost.
                warnings.append(
                    "environment variable \(name) is no setting\(suggestion(for: name, among: known.keys.sorted()))"
                )
            }
        }
    }

    private mutating func readFlag(_ flag: (name: String, path: String, values: [String])) {
        guard let setting = Setting.named(flag.path) else {
            return report(.flag(flag.name), "\(flag.path) is no setting\(suggestion(for: flag.path))")
        }
        write(setting, flag.values, .flag(flag.name))
    }

    private mutating func write(_ setting: Setting, _ values: [String], _ source: ConfigurationSource) {
        sources[setting.path] = source
        guard !setting.write(&configuration, values) else { return }
        let shown = values.map { "\"\($0.prefix(100))\"" }.joined(separator: ", ")
        report(source, "\(setting.path) is \(shown): it must be \(setting.expected)")
    }

    private mutating func checkTogether() {
        let tls = configuration.tls
        for (given, missing) in [
            ("tls.certificateFile", "tls.privateKeyFile"), ("tls.privateKeyFile", "tls.certificateFile"),
        ] {
            guard let source = sources[given], tls.certificateFile.isEmpty != tls.privateKeyFile.isEmpty else {
                continue
            }
            if Setting.named(given)?.read(configuration).isEmpty == false {
                report(source, "\(given) needs \(missing) too")
            }
        }
        if !tls.authorityFile.isEmpty, tls.certificateFile.isEmpty, let source = sources["tls.authorityFile"] {
            report(
                source,
                "tls.authorityFile is for a certificate of your own: give tls.certificateFile and tls.privateKeyFile too"
            )
        }
        checkPorts()
    }

    private mutating func checkPorts() {
        let listeners = configuration.listeners
        var ports = [
            ("mqtts", listeners.mqtts), ("amqps", listeners.amqps), ("https", listeners.https),
            ("metrics", listeners.metrics),
        ]
        if listeners.plain { ports += [("mqtt", listeners.mqtt), ("amqp", listeners.amqp), ("http", listeners.http)] }
        for (index, (name, port)) in ports.enumerated() where port != 0 {
            guard let other = ports[..<index].first(where: { $0.1 == port }) else { continue }
            let path = "listeners.\(name).port"
            let source = sources[path] ?? sources["listeners.\(other.0).port"]
            if let source {
                report(source, "\(path) is \(port), which listeners.\(other.0).port has already: give each its own")
            }
        }
    }

    private mutating func report(_ source: ConfigurationSource, _ text: String) {
        problems.append(ConfigurationProblem(source: source, text: text))
    }

    private func example(under path: String) -> String {
        Setting.all.first { $0.path.hasPrefix(path + ".") }?.path ?? path
    }

    private func suggestion(for path: String, among names: [String] = Setting.all.map(\.path)) -> String {
        guard let nearest = Suggestion.nearest(to: path, among: names) else {
            return "; docs/configuration.md lists all"
        }
        return ": did you mean \(nearest)?"
    }

    /// Variables of the program that are no settings of the hub.
    private static let otherNames: Set<String> = ["ROOST_CONNECTION_STRING", "ROOST_CA_FILE", "ROOST_CONFIG"]
}
