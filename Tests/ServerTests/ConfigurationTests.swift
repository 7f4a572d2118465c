// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import FoundationEssentials
import HubTransport
import Testing

@testable import roost

struct ConfigurationTests {
    private func load(
        _ yaml: String = "",
        environment: [String: String] = [:],
        flags: [(String, String, [String])] = []
    ) throws -> Configuration {
        let directory = try TemporaryDirectory()
        defer { directory.remove() }
        let file = directory.path + "/roost.yaml"
        try SecretFile.write(Array(yaml.utf8), to: file)
        let flags = flags.map { (name: $0.0, path: $0.1, values: $0.2) }
        return try ConfigurationLoader.load(file: file, environment: environment, flags: flags).configuration
    }

    private func problems(_ yaml: String, flags: [(String, String, [String])] = []) -> [String] {
        do {
            _ = try load(yaml, flags: flags)
            return []
        } catch let error as InvalidConfiguration {
            return error.problems.map { problem in
                // The file's folder is another one each time.
                problem.description.split(separator: "/").last.map(String.init) ?? problem.description
            }
        } catch {
            return ["\(error)"]
        }
    }

    @Test func `without anything the defaults hold`() throws {
        let configuration = try load()
        #expect(configuration.listeners.mqtts == 8883)
        #expect(configuration.events.partitionCount == 4)
        #expect(configuration.durability == .fsync)
    }

    @Test func `flags win over the environment and that over the file`() throws {
        let yaml = "listeners: {mqtts: {port: 1}, amqps: {port: 2}, https: {port: 3}}"
        let environment = ["ROOST_LISTENERS_AMQPS_PORT": "20", "ROOST_LISTENERS_HTTPS_PORT": "30"]
        let configuration = try load(
            yaml,
            environment: environment,
            flags: [("--https-port", "listeners.https.port", ["300"])]
        )
        #expect(configuration.listeners.mqtts == 1)
        #expect(configuration.listeners.amqps == 20)
        #expect(configuration.listeners.https == 300)
    }

    @Test func `the file speaks the vocabulary of the Azure resource with properties around it or without`() throws {
        let inner = "eventHubEndpoints: {events: {partitionCount: 8, retentionTimeInDays: 7}}\nminTlsVersion: \"1.3\""
        for yaml in [inner, "properties:\n" + inner.split(separator: "\n").map { "  " + $0 }.joined(separator: "\n")] {
            let configuration = try load(yaml)
            #expect(configuration.events.partitionCount == 8)
            #expect(configuration.events.retentionTimeInDays == 7)
            #expect(configuration.tls.minimumVersion == .v13)
        }
    }

    @Test func `lists may be one word, several words or words in the environment`() throws {
        #expect(try load("hostName: hub1.test").hostNames == ["hub1.test"])
        #expect(try load("hostName: [hub1.test, 10.0.0.1]").hostNames == ["hub1.test", "10.0.0.1"])
        #expect(try load(environment: ["ROOST_HOST_NAME": "a.test b.test"]).hostNames == ["a.test", "b.test"])
    }

    @Test(
        arguments: [
            (
                "durability: fsync\nlisteners:\n  mqtts:\n    port: 70000\n",
                "roost.yaml:4: listeners.mqtts.port is \"70000\": it must be a whole number from 0 to 65535"
            ),
            ("durability: maybe", "roost.yaml:1: durability is \"maybe\": it must be one of fsync, os"),
            ("\nlisteners: 5", "roost.yaml:2: listeners is a group of settings, such as listeners.address"),
            ("listeners:\n  plain: perhaps", "roost.yaml:2: listeners.plain is \"perhaps\": it must be true or false"),
            ("durabilty: os", "roost.yaml:1: durabilty is no setting: did you mean durability?"),
            (
                "partitionCount: 3",
                "roost.yaml:1: partitionCount is no setting: did you mean eventHubEndpoints.events.partitionCount?"
            ),
            ("zzzzzzzz: 3", "configuration.md lists all"),
            ("eventHubEndpoints:\n  fooo: 1", "configuration.md lists all"),
            (
                "hostName: \"a_b.test\"",
                "roost.yaml:1: hostName is \"a_b.test\": it must be host names (letters, digits, hyphens, dots) or IP addresses"
            ),
            ("eventLoops: [1, 2]", "roost.yaml:1: eventLoops must be a whole number from 0 to 256"),
            ("durability: os\ndurability: fsync", "roost.yaml:2: this is not YAML: durability is there twice"),
            ("a: [1", "roost.yaml:2: this is not YAML: did not find expected ',' or ']'"),
            ("- a\n- b", "roost.yaml:1: the file must hold keys with values, as in durability: fsync"),
            (
                "listeners:\n  mqtts:\n    port: 5671",
                "roost.yaml:3: listeners.amqps.port is 5671, which listeners.mqtts.port has already: give each its own"
            ),
            ("tls:\n  certificateFile: chain.pem", "roost.yaml:2: tls.certificateFile needs tls.privateKeyFile too"),
        ] as [(String, String)]
    )
    func `what is wrong is reported with line and value and what would be right`(yaml: String, expected: String) {
        #expect(problems(yaml) == [expected])
    }

    @Test func `all mistakes are reported at once`() {
        let found = problems("eventLoops: -1\nfoo: 1\ndurability: no", flags: [("--plain", "listeners.plain", ["5"])])
        #expect(found.count == 4)
        #expect(found.last == "--plain: listeners.plain is \"5\": it must be true or false")
    }

    @Test func `a file that is not there is reported`() throws {
        let error = #expect(throws: InvalidConfiguration.self) {
            try ConfigurationLoader.load(file: "/nowhere/roost.yaml", environment: [:], flags: [])
        }
        #expect(error?.description == "--config: can't open /nowhere/roost.yaml: No such file or directory")
    }

    @Test func `an unknown environment variable is a warning only`() throws {
        let loaded = try ConfigurationLoader.load(
            file: nil,
            environment: [
                "ROOST_SERVICE_HOST": "10.1.2.3", "ROOST_DURABILTY": "os", "ROOST_CONNECTION_STRING": "x",
                "PATH": "/bin",
            ],
            flags: []
        )
        #expect(loaded.warnings.count == 2)
        #expect(
            loaded.warnings.first
                == "environment variable ROOST_DURABILTY is no setting: did you mean ROOST_DURABILITY?"
        )
    }

    @Test func `every setting can be written and its default is one that is allowed`() {
        let defaults = Configuration()
        for setting in Setting.all where !setting.isList {
            var configuration = defaults
            #expect(setting.write(&configuration, [setting.read(defaults)]), "\(setting.path)")
        }
        #expect(Set(Setting.all.map(\.path)).count == Setting.all.count)
        #expect(Set(Setting.all.map(\.environmentName)).count == Setting.all.count)
    }

    @Test(arguments: [
        ("listeners.mqtts.port", "ROOST_LISTENERS_MQTTS_PORT"), ("disableDeviceSAS", "ROOST_DISABLE_DEVICE_SAS"),
        ("tls.allowCBC", "ROOST_TLS_ALLOW_CBC"),
    ])
    func `names in the environment have their words and abbreviations whole`(path: String, name: String) {
        #expect(Setting.named(path)?.environmentName == name)
    }

    @Test func `every flag of a setting is a flag of serve`() throws {
        for setting in Setting.all {
            guard let flag = setting.flag else { continue }
            let value = setting.isList ? "a.test" : setting.read(Configuration())
            let arguments = flag == "--plain" ? [flag] : [flag, value.isEmpty ? "x" : value]
            let given = try ServeOptions.parse(arguments).flags
            #expect(given.map(\.path) == [setting.path], "\(flag)")
        }
        let set = try ServeOptions.parse([
            "--set", "limits.devices=5", "--set", "hostName=a.b", "--set", "hostName=c.d",
        ]).flags
        #expect(set.map(\.values) == [["5"], ["a.b", "c.d"]])
    }

    @Test func `the page about the configuration is current`() throws {
        let page = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
            .deletingLastPathComponent().appending(path: "docs/configuration.md")
        let text = try String(contentsOf: page, encoding: .utf8)
        let isCurrent = text == ConfigurationPage.markdown
        #expect(isCurrent, "run: roost docs configuration > docs/configuration.md")
    }
}
