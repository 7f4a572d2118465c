// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import FoundationEssentials
import HubClient
import HubModel
import JSON
import NIOHTTP1
import Testing

@testable import roost

@Suite struct TwinCommandTests {
    @Test(arguments: [
        ["twin", "update", "d"],
        ["twin", "update", "d", "{}", "--desired", "{}"],
        ["twin", "replace", "d"],
        ["twin", "show"],
        ["module", "create", "d"],
        ["module", "create", "d", "m", "--secondary-key", "x"],
        ["method", "invoke", "d"],
        ["method", "invoke", "d", "m", "--timeout", "4"],
        ["method", "invoke", "d", "m", "--connect-timeout", "301"],
    ])
    func `commands that do not say what to do are refused`(_ arguments: [String]) {
        #expect(throws: (any Error).self) { try Roost.parseAsRoot(arguments) }
    }

    @Test func `a change of a twin keeps numbers and order as they were written`() throws {
        let change = try parse(["twin", "update", "d", "--desired", #"{"b":1.10,"a":null}"#, "--tags", "{ }"])
        #expect(
            try String(decoding: change.body(), as: UTF8.self)
                == #"{"tags":{ },"properties":{"desired":{"b":1.10,"a":null}}}"#
        )
    }

    @Test func `a document comes from a file`() throws {
        let directory = try TemporaryDirectory()
        defer { directory.remove() }
        let file = directory.path + "/patch.json"
        try Data(#"{"tags":{"a":1}}"#.utf8).write(to: URL(filePath: file))
        #expect(try parse(["twin", "update", "d", "@\(file)"]).body() == Data(#"{"tags":{"a":1}}"#.utf8))
        #expect(throws: CommandError.unreadableFile(file + "x", reason: "No such file or directory")) {
            try parse(["twin", "update", "d", "@\(file)x"]).body()
        }
    }

    @Test(arguments: ["{", "[]", "7", "{'a':1}"])
    func `what is no object is refused before the hub is asked`(_ text: String) throws {
        let error = #expect(throws: CommandError.self) { try parse(["twin", "update", "d", text]).body() }
        #expect(error?.description.hasPrefix("the document is not the JSON that is needed") == true)
    }

    @Test func `a document whose members would be passed over is refused`() throws {
        let error = #expect(throws: CommandError.self) {
            try parse(["twin", "update", "d", #"{"desired":{"a":1}}"#]).body()
        }
        #expect(error?.description.contains(#"it has neither "tags" nor "properties""#) == true)
    }

    @Test func `a twin is shown without metadata, a line for each member`() {
        let document = #"""
            {"deviceId":"d","moduleId":"m","etag":"AA=","version":7,"connectionState":"Connected",
            "lastActivityTime":"0001-01-01T00:00:00Z","tags":{},
            "properties":{"desired":{"b":1.10,"a":[1,{"c":"x\u001b"}],"$metadata":{"b":{}},"$version":3},
            "reported":{"$metadata":{},"$version":1}}}
            """#
        #expect(
            TwinText.sheet(Data(document.utf8)) == #"""
                device         d
                module         m
                connection     Connected
                last activity  never
                version        7
                etag           AA=
                tags
                  {}
                desired, version 3
                  {
                    "b": 1.10,
                    "a": [
                      1,
                      {
                        "c": "x\u001b"
                      }
                    ]
                  }
                reported, version 1
                  {}

                """#
        )
    }

    @Test func `a twin is written by the method that is meant, under its etag`() async throws {
        let server = try await CannedHTTPServer(status: .ok, body: #"{"deviceId":"d"}"#)
        let id = IdentityID(device: "d", module: "m/1")
        _ = try await server.with { service in
            _ = try await service.writeTwin(id, Data("{}".utf8), .merge, ifMatch: nil)
            _ = try await service.writeTwin(id, Data("{}".utf8), .replace, ifMatch: "\"AA=\"")
            return try await service.twin(IdentityID(device: "d"))
        }
        #expect(server.requests.map(\.method) == [.PATCH, .PUT, .GET])
        #expect(server.requests.map { $0.headers.first(name: "If-Match") } == ["\"*\"", "\"AA=\"", nil])
        #expect(server.requests[0].uri == "/twins/d/modules/m%2F1?api-version=2021-04-12")
        #expect(server.requests[2].uri == "/twins/d?api-version=2021-04-12")
    }

    @Test func `a method call carries its payload as it was given and both times`() async throws {
        let server = try await CannedHTTPServer(status: .ok, body: #"{"status":-1,"payload":{"b":2.50}}"#)
        let id = IdentityID(device: "d")
        let answer = try await server.with {
            try await $0.invoke("re\"boot", on: id, payload: Data("[1.0]".utf8), responseSeconds: 7, connectSeconds: 3)
        }
        let request = try #require(server.requests.first)
        #expect(request.method == .POST && request.uri.hasPrefix("/twins/d/methods?"))
        #expect(
            request.body
                == #"{"methodName":"re\"boot","responseTimeoutInSeconds":7,"connectTimeoutInSeconds":3,"payload":[1.0]}"#
        )
        #expect(answer.value.status == -1)
        #expect(MethodInvokeCommand.text(answer) == "status -1\n{\n  \"b\": 2.50\n}")
    }

    @Test func `modules are made and deleted under their device`() async throws {
        let body = #"{"deviceId":"d","moduleId":"m","authentication":{"symmetricKey":{"primaryKey":"QQ=="}}}"#
        let server = try await CannedHTTPServer(status: .ok, body: body)
        let module = try await server.with { service in
            var wanted = ModuleIdentity(deviceID: "d", moduleID: "m")
            wanted.authentication = .keys(primary: "QQ==", secondary: "QQ==")
            let made = try await service.create(wanted).value
            try await service.deleteModule("m", of: "d", ifMatch: nil)
            return made
        }
        #expect(try module.authentication.key(secondary: false, of: "m") == "QQ==")
        #expect(throws: CommandError.noKey(id: "m")) { try module.authentication.key(secondary: true, of: "m") }
        #expect(server.requests.map(\.method) == [.PUT, .DELETE])
        #expect(server.requests[0].uri == "/devices/d/modules/m?api-version=2021-04-12")
    }

    @Test func `the connection strings of a data directory and of another hub have the same form`() throws {
        let text = "HostName=h:8443;SharedAccessKeyName=p;SharedAccessKey=k"
        let target = try HubTarget(connectionString: ConnectionString(parsing: text), plain: false)
        #expect(try target.serviceConnectionString(policy: "iothubowner").text == text)
        #expect(
            try target.eventHubConnectionString(policy: "service").text
                == "Endpoint=sb://h/;SharedAccessKeyName=p;SharedAccessKey=k;EntityPath=h"
        )
    }

    private func parse(_ arguments: [String]) throws -> TwinChangeOptions {
        let command = try Roost.parseAsRoot(arguments)
        return try #require((command as? TwinUpdateCommand)?.change ?? (command as? TwinReplaceCommand)?.change)
    }
}
