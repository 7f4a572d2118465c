// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import FoundationEssentials
import HubClient
import HubModel
import Testing

@testable import roost

@Suite struct CommandParsingTests {
    @Test(arguments: [
        ["device", "create"],
        ["device", "create", "a", "--prefix", "p", "--count", "2"],
        ["device", "create", "--prefix", "p"],
        ["device", "create", "--count", "3"],
        ["device", "create", "a", "--secondary-key", "x"],
        ["device", "create", "--prefix", "p", "--count", "0"],
        ["device", "update", "a", "--thumbprint", "x", "--new-keys"],
        ["device", "update", "a"],
        ["device", "update", "a", "--status", "off"],
        ["device", "update", "a", "--new-keys", "--primary-key", "x"],
        ["device", "delete"],
        ["device", "delete", "a", "b", "--if-match", "x"],
        ["device", "list", "--top", "1001"],
    ])
    func `commands that do not say what to do are refused`(_ arguments: [String]) {
        #expect(throws: (any Error).self) { try Roost.parseAsRoot(arguments) }
    }

    @Test func `a bench without the name of a load is telemetry`() throws {
        let command = try #require(try parse(["bench", "--plain", "--window", "1"]) as? TelemetryBenchCommand)
        #expect(command.window == 1 && command.options.hub.plain && command.options.devices == 100)
        let twin = try #require(try parse(["bench", "twin", "--devices", "7"]) as? TwinBenchCommand)
        #expect(twin.window == 4 && twin.options.ids.last == "load-6")
    }

    @Test func `many devices are numbered from the first`() throws {
        let command = try parse(["device", "create", "--prefix", "p-", "--count", "3", "--first", "7"])
        let create = try #require(command as? DeviceCreateCommand)
        let changes = try create.changes()
        #expect(changes.map(\.id) == ["p-7", "p-8", "p-9"])
        #expect(changes.allSatisfy { $0.importMode == .create && $0.status == "enabled" })
    }

    @Test func `one given key serves as both`() throws {
        let command = try parse(["device", "create", "--prefix", "p", "--count", "1", "--primary-key", "AAAA"])
        let create = try #require(command as? DeviceCreateCommand)
        #expect(try create.changes().first?.authentication == .keys(primary: "AAAA", secondary: "AAAA"))
    }

    @Test func `a device signs in by keys, by a pinned certificate or by those of an authority`() throws {
        func authentication(_ options: String...) throws -> DeviceIdentity.Authentication {
            let command = try parse(["device", "create", "d"] + options)
            return try #require(command as? DeviceCreateCommand).signIn.authentication
        }
        #expect(try authentication() == .keys(primary: nil, secondary: nil))
        #expect(try authentication("--authority") == .byAuthority)
        #expect(
            try authentication("--thumbprint", "AA", "--thumbprint", "BB")
                == .thumbprints(primary: "AA", secondary: "BB")
        )
        let module = try parse(["module", "create", "d", "m", "--thumbprint", "AA"])
        let made = try #require(module as? ModuleCreateCommand).signIn.authentication
        #expect(made == .thumbprints(primary: "AA", secondary: nil))
        #expect(throws: (any Error).self) { try authentication("--authority", "--thumbprint", "AA") }
        #expect(throws: (any Error).self) { try authentication("--authority", "--primary-key", "AAAA") }
        #expect(throws: (any Error).self) { try authentication("--secondary-key", "AAAA") }
        #expect(throws: (any Error).self) {
            try parse(["device", "create", "--prefix", "p", "--count", "2", "--thumbprint", "AA"])
        }
    }

    @Test func `an update changes one thumbprint and keeps the other`() throws {
        let command = try parse(["device", "update", "d", "--secondary-thumbprint", "CC"])
        let update = try #require(command as? DeviceUpdateCommand)
        var device = DeviceIdentity(deviceID: "d")
        device.authentication = .thumbprints(primary: "AA", secondary: "BB")
        #expect(update.changed(device).authentication == .thumbprints(primary: "AA", secondary: "CC"))
    }

    @Test func `an update keeps what it does not name`() throws {
        let command = try parse(["device", "update", "d", "--primary-key", "bmV3"])
        let update = try #require(command as? DeviceUpdateCommand)
        var device = DeviceIdentity(deviceID: "d")
        device.status = "disabled"
        device.authentication = .keys(primary: "b2xk", secondary: "b2xkMg==")
        let changed = update.changed(device)
        #expect(changed.status == "disabled")
        #expect(changed.authentication == .keys(primary: "bmV3", secondary: "b2xkMg=="))
    }

    @Test func `a list of devices is read line by line`() throws {
        let text = "# fleet\r\na, AAAA ,BBBB\n\nb\nc,,\n"
        let lines = try DeviceLines.parse(text, file: "f")
        #expect(
            lines == [
                .init(id: "a", primaryKey: "AAAA", secondaryKey: "BBBB"),
                .init(id: "b", primaryKey: nil, secondaryKey: nil),
                .init(id: "c", primaryKey: nil, secondaryKey: nil),
            ]
        )
    }

    @Test func `a bad line is named by its number and its key is not repeated`() throws {
        let error = #expect(throws: CommandError.self) { try DeviceLines.parse("a\nb,no base64!\n", file: "f") }
        #expect(error?.description == "f, line 2: a key is not base64 text.")
    }

    @Test func `the hub is that of the option, else of the environment`() throws {
        let fromEnvironment = ["ROOST_CONNECTION_STRING": "HostName=env;SharedAccessKeyName=p;SharedAccessKey=k"]
        #expect(try HubOptions.parse([]).resolve(environment: fromEnvironment).address.hostName == "env")
        let options = try HubOptions.parse([
            "--connection-string", "HostName=opt:8443;SharedAccessKeyName=p;SharedAccessKey=k", "--mqtt-port", "1",
            "--ca-file", "/ca", "--connect", "10.0.0.1",
        ])
        let address = try options.resolve(environment: fromEnvironment).address
        #expect(address.hostName == "opt:8443" && address.bareHostName == "opt")
        #expect(address.httpsPort == 8443 && address.mqttPort == 1 && address.amqpPort == 5671)
        #expect(address.trust == .authorities(file: "/ca") && address.dialHost == "10.0.0.1")
    }

    @Test func `a data directory without a hub says what to do`() throws {
        let options = try HubOptions.parse(["--data", "/nowhere"])
        #expect(throws: HubFileError.absent(path: "/nowhere/hub.json")) { try options.resolve(environment: [:]) }
        // Not absent, but a thing that cannot be read.
        let denied = HubFileError.denied(path: "/dev/null/hub.json", reason: "Not a directory")
        #expect(throws: denied) { try HubFile.read(dataDirectory: "/dev/null") }
    }

    @Test func `the file of a hub is read as it is written, and gives both connection strings`() throws {
        let file = HubFile.example
        #expect(try JSONDecoder().decode(HubFile.self, from: file.encoded()) == file)
        #expect(
            try file.serviceConnectionString(policy: "service").text
                == "HostName=h.example.com:8443;SharedAccessKeyName=service;SharedAccessKey=c2Vydmlj"
        )
        #expect(
            try file.eventHubConnectionString(policy: "service").text
                == "Endpoint=sb://h.example.com/;SharedAccessKeyName=service;SharedAccessKey=c2Vydmlj;EntityPath=h"
        )
        #expect(throws: HubFileError.noPolicy("x", known: ["service"])) {
            try file.serviceConnectionString(policy: "x")
        }
        #expect(throws: HubFileError.noPlainListeners) { try file.address(plain: true) }
        #expect(try file.address(plain: false).trust == .authorities(file: "/d/ca.pem"))
    }

    private func parse(_ arguments: [String]) throws -> any ParsableCommand {
        try Roost.parseAsRoot(arguments)
    }
}

extension HubFile {
    /// A file as a hub with TLS only writes it.
    static var example: HubFile {
        .init(
            hostName: "h.example.com",
            eventHubName: "h",
            processID: 1,
            authorityFile: "/d/ca.pem",
            ports: .init(https: 8443, mqtts: 8883, amqps: 5671, metrics: 9600),
            policies: [.init(name: "service", primaryKey: "c2Vydmlj", secondaryKey: "c2Vydmlj")]
        )
    }
}
