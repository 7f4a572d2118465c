// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import Hub
import HubModel
import JSON
import NIOHTTP1
import Testing

@testable import HTTPFront

/// `/devices/{id}/modules` (docs/wire/http.md#modules).
struct ModuleRoutesTests {
    private static let path = "/devices/d/modules/m"
    private static let key = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="

    /// Runs a hub with the device `d`.
    private static func with(_ body: (TestHub) async throws -> Void) async throws {
        try await TestHub.with { test in
            _ = try await test.send(.PUT, "/devices/d", "{}")
            try await body(test)
        }
    }

    @Test func `rest_service 043 rest_service 045 a module is made and changed with 200 and keeps who manages it`()
        async throws
    {
        try await Self.with { test in
            let body = #"""
                {"moduleId":"m","deviceId":"d","managedBy":"iotEdge","status":"disabled","generationId":"forged",
                "capabilities":{"iotEdge":true},"cloudToDeviceMessageCount":3,"connectionState":"Connected"}
                """#
            let made = try await test.send(.PUT, Self.path, body)
            #expect(made.status == 200)
            let document = try #require(made.json)
            #expect(
                document.members.map(\.name) == [
                    "moduleId", "managedBy", "deviceId", "generationId", "etag", "connectionState",
                    "connectionStateUpdatedTime", "lastActivityTime", "cloudToDeviceMessageCount", "authentication",
                ]
            )
            #expect(document["moduleId"]?.string == "m" && document["deviceId"]?.string == "d")
            #expect(document["managedBy"]?.string == "iotEdge")
            #expect(document["connectionState"]?.string == "Disconnected")
            let etag = try #require(document["etag"]?.string)
            #expect(made.headers.first(name: "ETag") == "\"\(etag)\"")
            let keys = document["authentication"]?["symmetricKey"]
            #expect(Base64.decode(keys?["primaryKey"]?.string ?? "")?.count == 32)
            #expect(keys?["primaryKey"]?.string != keys?["secondaryKey"]?.string)
            #expect(try await test.send(.GET, Self.path).text == made.text)
            let changed = try await test.send(
                .PUT,
                Self.path,
                #"{"managedBy":"me","authentication":{"symmetricKey":{"primaryKey":"\#(Self.key)"}}}"#,
                headers: ["If-Match": "\"\(etag)\""]
            )
            #expect(changed.status == 200)
            #expect(changed.json?["managedBy"]?.string == "me")
            #expect(changed.json?["authentication"]?["symmetricKey"]?["primaryKey"]?.string == Self.key)
            #expect(changed.json?["generationId"]?.string == document["generationId"]?.string)
            #expect(changed.json?["etag"]?.string != etag)
            try await test.expect(412, .PUT, Self.path, "{}", headers: ["If-Match": "\"\(etag)\""])
        }
    }

    @Test func `rest_service 042 a module needs its device and is made once`() async throws {
        try await Self.with { test in
            let orphan = try await test.send(.PUT, "/devices/none/modules/m", "{}")
            #expect(orphan.status == 404 && orphan.code == "DeviceNotFound")
            let missing = try await test.send(.PUT, Self.path, "{}", headers: ["If-Match": "*"])
            #expect(missing.status == 404 && missing.code == "ModuleNotFound")
            let lost = try await test.send(.PUT, "/devices/none/modules/m", "{}", headers: ["If-Match": "*"])
            #expect(lost.status == 404 && lost.code == "DeviceNotFound")
            #expect(try await test.send(.PUT, Self.path, "{}").status == 200)
            let again = try await test.send(.PUT, Self.path, "{}")
            #expect(again.status == 409 && again.code == "ModuleAlreadyExistsOnDevice")
            for (path, code) in [(Self.path + "x", "ModuleNotFound"), ("/devices/x/modules/m", "DeviceNotFound")] {
                for method in [HTTPMethod.GET, .DELETE] {
                    let answer = try await test.send(method, path)
                    #expect(answer.status == 404 && answer.code == code, "\(method) \(path)")
                }
            }
        }
    }

    @Test func `what a module can't be is refused`() async throws {
        try await Self.with { test in
            let long = String(repeating: "a", count: 129)
            let cases = [
                ("/devices/d/modules/\(long)", "{}"), ("/devices/d/modules/a%2Fb", "{}"),
                (Self.path, #"{"moduleId":"other"}"#), (Self.path, #"{"deviceId":"other"}"#),
                (Self.path, #"{"managedBy":5}"#), (Self.path, "[]"),
                (Self.path, #"{"authentication":{"symmetricKey":{"primaryKey":"c2hvcnQ="}}}"#),
            ]
            for (path, body) in cases {
                #expect(try await test.send(.PUT, path, body).status == 400, "\(path) \(body)")
            }
            let listed = try await test.send(.GET, "/devices/d/modules")
            #expect(listed.text == "[]")
        }
    }

    @Test func `rest_service 044 modules are listed by id and there may be none`() async throws {
        try await Self.with { test in
            let none = try await test.send(.GET, "/devices/d/modules")
            #expect(none.status == 200 && none.text == "[]")
            #expect(try await test.send(.GET, "/devices/none/modules").code == "DeviceNotFound")
            for id in ["b", "a"] { _ = try await test.send(.PUT, "/devices/d/modules/\(id)", "{}") }
            _ = try await test.send(.PUT, "/devices/da", "{}")
            _ = try await test.send(.PUT, "/devices/da/modules/c", "{}")
            let listed = try #require(try await test.send(.GET, "/devices/d/modules/").json)
            #expect(listed.elements.map { $0["moduleId"]?.string } == ["a", "b"])
            #expect(listed.elements.allSatisfy { $0["authentication"]?["type"]?.string == "sas" })
            #expect(try await test.send(.DELETE, "/devices/d/modules/a", headers: ["If-Match": "*"]).status == 204)
            let devices = try #require(try await test.send(.GET, "/devices").json)
            #expect(Array(devices.elements).count == 2)
        }
    }

    @Test func `rest_service 046 rest_service 066 messages 058 modules and their twins go with the device`()
        async throws
    {
        try await Self.with { test in
            _ = try await test.send(.PUT, Self.path, "{}")
            _ = try await test.send(.PATCH, "/twins/d/modules/m", #"{"tags":{"a":1}}"#)
            #expect(try await test.send(.GET, "/twins/d").json?["version"]?.int == 2)
            _ = try await test.send(.DELETE, "/devices/d")
            #expect(try await test.send(.GET, Self.path).code == "DeviceNotFound")
            _ = try await test.send(.PUT, "/devices/d", "{}")
            #expect(try await test.send(.GET, Self.path).code == "ModuleNotFound")
            #expect(try await test.send(.GET, "/twins/d/modules/m").code == "ModuleNotFound")
            _ = try await test.send(.PUT, Self.path, "{}")
            let fresh = try await test.send(.GET, "/twins/d/modules/m")
            #expect(fresh.json?["version"]?.int == 2 && fresh.json?["moduleId"]?.string == "m")
            #expect(fresh.json?["tags"] == nil)
        }
    }

    @Test func `rest_service 013 rest_service 037 the modules of the edge runtime belong to it`() async throws {
        try await TestHub.with { test in
            _ = try await test.send(.PUT, "/devices/e", #"{"capabilities":{"iotEdge":true}}"#)
            let listed = try #require(try await test.send(.GET, "/devices/e/modules").json)
            #expect(listed.elements.map { $0["moduleId"]?.string } == ["$edgeAgent", "$edgeHub"])
            #expect(listed.elements.allSatisfy { $0["authentication"]?["type"]?.string == "none" })
            let plain = try await test.send(.GET, "/devices/e/modules/$edgeAgent")
            #expect(plain.status == 200)
            #expect(try await test.send(.GET, "/devices/e/modules/%24edgeAgent").text == plain.text)
            for method in [HTTPMethod.PUT, .DELETE] {
                let answer = try await test.send(
                    method,
                    "/devices/e/modules/%24edgeHub",
                    "{}",
                    headers: ["If-Match": "*"]
                )
                #expect(answer.status == 401 && answer.code == "SystemModuleModifyUnauthorizedAccess", "\(method)")
            }
            _ = try await test.send(.PUT, "/devices/leaf", "{}")
            let refused = try await test.send(.PUT, "/devices/leaf/modules/$edgeAgent", "{}")
            #expect(refused.code == "SystemModuleModifyUnauthorizedAccess")
            // A refused create leaves nothing behind on the device that is there.
            try await test.expect(409, .PUT, "/devices/leaf", #"{"capabilities":{"iotEdge":true}}"#, headers: [:])
            #expect(try await test.send(.GET, "/devices/leaf/modules").text == "[]")
        }
    }

    @Test func `a device has as many modules as it may`() async throws {
        try await Self.with { test in
            for number in 1...Limits().modulesPerDeviceMax {
                try await test.expect(200, .PUT, "/devices/d/modules/m\(number)", "{}", headers: [:])
            }
            let refused = try await test.send(.PUT, "/devices/d/modules/more", "{}")
            #expect(refused.status == 413 && refused.code == "TooManyModulesOnDevice")
        }
    }

    @Test func `routes of modules ask for the rights of devices`() async throws {
        try await Self.with { test in
            _ = try await test.send(.PUT, Self.path, "{}")
            for (policy, read, write) in [("registryRead", 200, 401), ("service", 401, 401), ("device", 401, 401)] {
                #expect(try await test.send(.GET, Self.path, as: policy).status == read)
                #expect(try await test.send(.GET, "/devices/d/modules", as: policy).status == read)
                #expect(try await test.send(.PUT, Self.path + "2", "{}", as: policy).status == write)
                #expect(try await test.send(.DELETE, Self.path, as: policy).status == write)
            }
            let narrow = test.token("iothubowner", resource: "\(TestHub.hostName)%2Fdevices%2Fd%2Fmodules%2Fm")
            try await test.expect(200, .GET, Self.path, headers: ["Authorization": narrow])
            try await test.expect(401, .GET, Self.path + "2", headers: ["Authorization": narrow])
            try await test.expect(401, .GET, "/devices/d", headers: ["Authorization": narrow])
        }
    }
}
