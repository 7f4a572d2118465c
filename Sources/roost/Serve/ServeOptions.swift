// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import ArgumentParser

/// The flags that set the configuration, shared by `serve` and `init`.
struct ServeOptions: ParsableArguments {
    @Option(name: .long, help: ArgumentHelp("YAML file with settings (environment ROOST_CONFIG).", valueName: "file"))
    var config: String?
    @Option(name: .long, help: ArgumentHelp("The data directory (default ./roost-data).", valueName: "dir"))
    var data: String?
    @Option(
        name: .long,
        parsing: .upToNextOption,
        help: ArgumentHelp("Names by which clients reach the hub.", valueName: "name")
    )
    var hostName: [String] = []
    @Option(
        name: .long,
        help: ArgumentHelp("Where the listeners with TLS listen; * is everywhere.", valueName: "address")
    )
    var listenAddress: String?
    @Flag(name: .long, help: "Also listen without TLS, on loopback.")
    var plain = false
    @Option(name: .long, help: "Acknowledge when on the disk (fsync) or with the operating system (os).")
    var durability: String?
    @Option(
        name: .long,
        help: ArgumentHelp("Threads that serve connections; 0 is one for each processor.", valueName: "n")
    )
    var eventLoops: String?
    @Option(name: .long, help: ArgumentHelp("Partitions of a new data directory (default 4).", valueName: "n"))
    var partitions: String?
    @Option(
        name: .long,
        parsing: .upToNextOption,
        help: ArgumentHelp("Consumer groups beside $Default.", valueName: "name")
    )
    var consumerGroup: [String] = []
    @Option(name: .long, help: ArgumentHelp("How long events are kept (default 1).", valueName: "days"))
    var retentionDays: String?
    @Option(name: .long, help: ArgumentHelp("How much is kept at most; 0 is no bound.", valueName: "n"))
    var retentionMegabytes: String?
    @Option(name: .long, help: ArgumentHelp("MQTT over TLS (default 8883).", valueName: "port"))
    var mqttsPort: String?
    @Option(name: .long, help: ArgumentHelp("AMQP over TLS (default 5671).", valueName: "port"))
    var amqpsPort: String?
    @Option(
        name: .long,
        help: ArgumentHelp("HTTPS (default 443, or 8443 where that is not permitted).", valueName: "port")
    )
    var httpsPort: String?
    @Option(name: .long, help: ArgumentHelp("MQTT without TLS (default 1883).", valueName: "port"))
    var mqttPort: String?
    @Option(name: .long, help: ArgumentHelp("AMQP without TLS (default 5672).", valueName: "port"))
    var amqpPort: String?
    @Option(name: .long, help: ArgumentHelp("HTTP without TLS (default 8080).", valueName: "port"))
    var httpPort: String?
    @Option(name: .long, help: ArgumentHelp("Metrics and health (default 9600).", valueName: "port"))
    var metricsPort: String?
    @Option(name: .long, help: ArgumentHelp("A server certificate of your own, as PEM.", valueName: "file"))
    var certificateFile: String?
    @Option(name: .long, help: ArgumentHelp("Its private key, as PEM.", valueName: "file"))
    var privateKeyFile: String?
    @Option(name: .long, help: ArgumentHelp("The CA that signed it, if clients must be told.", valueName: "file"))
    var authorityFile: String?
    @Option(name: .long, help: ArgumentHelp("Connections at once.", valueName: "n"))
    var connectionsMax: String?
    @Option(name: .long, help: "text or json.")
    var logFormat: String?
    @Option(name: .long, help: "trace, debug, info, notice, warning, error or critical.")
    var logLevel: String?
    @Option(name: .long, help: ArgumentHelp("Any other setting; may be repeated.", valueName: "key=value"))
    var set: [String] = []

    /// What was given, in the order of the settings; `--set` comes last.
    var flags: [(name: String, path: String, values: [String])] {
        get throws {
            var given: [String: [String]] = [:]
            given["--data"] = data.map { [$0] }
            given["--host-name"] = hostName.isEmpty ? nil : hostName
            given["--listen-address"] = listenAddress.map { [$0] }
            given["--plain"] = plain ? ["true"] : nil
            given["--durability"] = durability.map { [$0] }
            given["--event-loops"] = eventLoops.map { [$0] }
            given["--partitions"] = partitions.map { [$0] }
            given["--consumer-group"] = consumerGroup.isEmpty ? nil : consumerGroup
            given["--retention-days"] = retentionDays.map { [$0] }
            given["--retention-megabytes"] = retentionMegabytes.map { [$0] }
            given["--mqtts-port"] = mqttsPort.map { [$0] }
            given["--amqps-port"] = amqpsPort.map { [$0] }
            given["--https-port"] = httpsPort.map { [$0] }
            given["--mqtt-port"] = mqttPort.map { [$0] }
            given["--amqp-port"] = amqpPort.map { [$0] }
            given["--http-port"] = httpPort.map { [$0] }
            given["--metrics-port"] = metricsPort.map { [$0] }
            given["--certificate-file"] = certificateFile.map { [$0] }
            given["--private-key-file"] = privateKeyFile.map { [$0] }
            given["--authority-file"] = authorityFile.map { [$0] }
            given["--connections-max"] = connectionsMax.map { [$0] }
            given["--log-format"] = logFormat.map { [$0] }
            given["--log-level"] = logLevel.map { [$0] }
            var result = Setting.all.compactMap { setting in
                setting.flag.flatMap { flag in given[flag].map { (name: flag, path: setting.path, values: $0) } }
            }
            var lists: [String: Int] = [:]
            for text in set {
                guard let equals = text.firstIndex(of: "=") else {
                    throw ValidationError("--set \(text): write KEY=VALUE")
                }
                let path = String(text[..<equals])
                let value = String(text[text.index(after: equals)...])
                if Setting.named(path)?.isList == true, let index = lists[path] {
                    result[index].values.append(value)
                } else {
                    lists[path] = result.count
                    result.append((name: "--set \(path)", path: path, values: [value]))
                }
            }
            return result
        }
    }

    /// Reads file, environment and flags.
    func load(environment: [String: String]) throws -> ConfigurationLoader.Loaded {
        let file = config ?? environment["ROOST_CONFIG"].flatMap { $0.isEmpty ? nil : $0 }
        return try ConfigurationLoader.load(file: file, environment: environment, flags: flags)
    }
}
