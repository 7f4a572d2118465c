// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import Hub
import HubModel
import JSON
import NIOCore
import NIOHTTP1
import Testing

@testable import HTTPFront

struct DeviceRoutesTests {
    private static let key = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="
    private static let otherKey = "ZmVkY2JhOTg3NjU0MzIxMGZlZGNiYTk4NzY1NDMyMTA="

    @Test func `security 028 rest_service 001 without a credential every route answers 401 with the code's name`()
        async throws
    {
        try await TestHub.with { test in
            for path in ["/devices", "/devices/d", "/statistics/devices", "/twins/d", "/nothing"] {
                for headers in [[:], ["Authorization": " "], ["Authorization": "Bearer eyJhbGciOi"], ["Cookie": "a=b"]]
                {
                    let answer = try await test.send(.GET, path, as: nil, headers: headers)
                    #expect(answer.status == 401)
                    #expect(answer.code == "IotHubUnauthorizedAccess")
                    #expect(answer.message?.contains("Unauthorized") == true)
                }
            }
        }
    }

    @Test func `rest_service 002 rest_service 003 rest_service 005 tokens decide over HTTP too`() async throws {
        try await TestHub.with { test in
            let wrong = test.token("service", key: Self.key)
            let unknown = test.token("nobody", key: Self.key)
            let expired = test.token("iothubowner", expiry: TestHub.now - 301)
            let foreign = test.token("iothubowner", resource: "other.example.com")
            for token in [wrong, unknown, expired, foreign] {
                try await test.expect(401, .GET, "/devices", headers: ["Authorization": token])
            }
            let secondary = test.token("iothubowner", key: test.policies["iothubowner"]?.secondaryKey)
            let late = test.token("iothubowner", expiry: TestHub.now - 299)
            for token in [secondary, late] {
                try await test.expect(200, .GET, "/devices", headers: ["Authorization": token])
            }
        }
    }

    @Test func `rest_service 006 rest_service 007 security 014 each route asks for its right`() async throws {
        try await TestHub.with { test in
            _ = try await test.send(.PUT, "/devices/d", "{}")
            let rights: [(String, read: Int, write: Int)] = [
                ("registryRead", 200, 401), ("registryReadWrite", 200, 200), ("iothubowner", 200, 200),
                ("service", 401, 401), ("device", 401, 401),
            ]
            for (policy, read, write) in rights {
                for path in ["/devices/d", "/devices", "/statistics/devices", "/statistics/service"] {
                    #expect(try await test.send(.GET, path, as: policy).status == read, "\(policy) \(path)")
                }
                let put = try await test.send(.PUT, "/devices/d", "{}", as: policy, headers: ["If-Match": "*"])
                #expect(put.status == write, "\(policy)")
                let bulk = try await test.send(.POST, "/devices", #"[{"id":"\#(policy)"}]"#, as: policy)
                #expect(bulk.status == write, "\(policy)")
                if write == 401 { #expect(try await test.send(.DELETE, "/devices/d", as: policy).status == 401) }
            }
        }
    }

    @Test func `rest_service 008 a narrow token opens its own device only`() async throws {
        try await TestHub.with { test in
            _ = try await test.send(.PUT, "/devices/dev1", "{}")
            _ = try await test.send(.PUT, "/devices/dev10", "{}")
            let token = test.token("iothubowner", resource: "\(TestHub.hostName)%2Fdevices%2Fdev1")
            try await test.expect(200, .GET, "/devices/dev1", headers: ["Authorization": token])
            for path in ["/devices/dev10", "/devices", "/statistics/devices"] {
                try await test.expect(401, .GET, path, headers: ["Authorization": token])
            }
            let device = try await test.registry.identity(IdentityID(device: "dev1"))
            let own = test.token(
                "dev1",
                resource: "\(TestHub.hostName)%2Fdevices%2Fdev1",
                key: device.symmetricKeys.primary
            )
            let bare = own.replacing("&skn=dev1", with: "")
            try await test.expect(401, .GET, "/devices/dev10", headers: ["Authorization": bare])
        }
    }

    @Test func `rest_service 009 rest_service 010 rest_service 015 paths and versions are read leniently`() async throws
    {
        try await TestHub.with { test in
            _ = try await test.send(.PUT, "/devices/dev1", "{}")
            for path in [
                "/devices/?api-version=2021-04-12&top=3", "/devices?top=3&api-version=2020-09-30",
                "/devices?api-version=x",
            ] {
                #expect(try await test.send(.GET, path, version: nil).status == 200)
            }
            #expect(try await test.send(.GET, "/DEVICES/dev1").status == 200)
            #expect(try await test.send(.GET, "/devices/DEV1").status == 404)
            #expect(try await test.send(.GET, "/devices/dev1/").status == 200)
            let missing = try await test.send(.GET, "/devices/dev1", version: nil)
            #expect(missing.status == 400 && missing.code == "InvalidProtocolVersion")
        }
    }

    @Test func `rest_service 013 rest_service 014 ids in paths are decoded exactly once`() async throws {
        try await TestHub.with { test in
            _ = try await test.send(.PUT, "/devices/a+b", "{}")
            for path in ["/devices/a+b", "/devices/a%2Bb", "/devices/a%2bb"] {
                #expect(try await test.send(.GET, path).json?["deviceId"]?.string == "a+b")
            }
            _ = try await test.send(.PUT, "/devices/%24x%253A", "{}")
            #expect(try await test.send(.GET, "/devices/$x%253A").json?["deviceId"]?.string == "$x%3A")
            #expect(try await test.send(.GET, "/devices/%24x:").status == 404)
            #expect(throws: HubError.self) { try ServiceRoute(path: "/devices/%zz") }
        }
    }

    @Test func `rest_service 016 rest_service 019 rest_service 020 a created device is returned with its entity tag`()
        async throws
    {
        try await TestHub.with { test in
            let made = try await test.send(.PUT, "/devices/d", #"{"deviceId":"d"}"#)
            #expect(made.status == 200)
            let etag = try #require(made.json?["etag"]?.string)
            #expect(made.headers.first(name: "ETag") == "\"\(etag)\"")
            #expect(made.json?["authentication"]?["type"]?.string == "sas")
            let keys = made.json?["authentication"]?["symmetricKey"]
            let primary = Base64.decode(keys?["primaryKey"]?.string ?? "")
            #expect(primary?.count == 32 && primary != Base64.decode(keys?["secondaryKey"]?.string ?? ""))
            let read = try await test.send(.GET, "/devices/d")
            #expect(read.text == made.text)
            #expect(read.headers.first(name: "ETag") == "\"\(etag)\"")
            #expect(read.headers.first(name: "Content-Type") == "application/json; charset=utf-8")
        }
    }

    @Test func `rest_service 031 rest_service 041 the document has the documented members in their order`() async throws
    {
        try await TestHub.with { test in
            let body = #"""
                {"deviceId":"d","generationId":"forged","etag":"forged","connectionState":"Connected","status":"Disabled",
                "statusReason":"because \"é\"","cloudToDeviceMessageCount":7,"unknown":{"a":[1]},"lastActivityTime":null,
                "authentication":{"symmetricKey":{"primaryKey":"\#(Self.key)","secondaryKey":"\#(Self.otherKey)"},
                "x509Thumbprint":null},"capabilities":null}
                """#
            let answer = try await test.send(.PUT, "/devices/d", body)
            let document = try #require(answer.json)
            #expect(
                document.members.map(\.name) == [
                    "deviceId", "generationId", "etag", "connectionState", "status", "statusReason",
                    "connectionStateUpdatedTime", "statusUpdatedTime", "lastActivityTime", "cloudToDeviceMessageCount",
                    "authentication", "capabilities", "parentScopes",
                ]
            )
            #expect(document["authentication"]?.members.map(\.name) == ["symmetricKey", "x509Thumbprint", "type"])
            #expect(document["generationId"]?.string != "forged" && document["etag"]?.string != "forged")
            #expect(document["status"]?.string == "disabled")
            #expect(document["statusReason"]?.string == "because \"é\"")
            #expect(document["connectionState"]?.string == "Disconnected")
            #expect(document["cloudToDeviceMessageCount"]?.int == 0)
            #expect(document["lastActivityTime"]?.string == "0001-01-01T00:00:00")
            #expect(document["statusUpdatedTime"]?.string == "2025-06-15T15:06:40.0000000Z")
            #expect(document["capabilities"]?["iotEdge"]?.bool == false)
            #expect(document["authentication"]?["symmetricKey"]?["primaryKey"]?.string == Self.key)
        }
    }

    @Test func `rest_service 021 rest_service 022 rest_service 023 writes hold to If-Match`() async throws {
        try await TestHub.with { test in
            let missing = try await test.send(.PUT, "/devices/d", "{}", headers: ["If-Match": "\"*\""])
            #expect(missing.status == 404 && missing.code == "DeviceNotFound")
            let made = try await test.send(.PUT, "/devices/d", "{}")
            let again = try await test.send(.PUT, "/devices/d", "{}")
            #expect(again.status == 409)
            #expect(again.message == "ErrorCode:DeviceAlreadyExists;A device with ID 'd' is already registered.")
            let current = try #require(made.headers.first(name: "ETag"))
            let second = try await test.send(.PUT, "/devices/d", "{}", headers: ["If-Match": current])
            #expect(second.status == 200)
            let stale = try await test.send(.PUT, "/devices/d", "{}", headers: ["If-Match": current])
            #expect(stale.status == 412 && stale.code == "PreconditionFailed")
            for header in ["*", "\"*\""] {
                try await test.expect(200, .PUT, "/devices/d", "{}", headers: ["If-Match": header])
            }
        }
    }

    @Test func `rest_service 025 rest_service 026 rest_service 027 a device is deleted once`() async throws {
        try await TestHub.with { test in
            _ = try await test.send(.PUT, "/devices/d", "{}")
            let deleted = try await test.send(.DELETE, "/devices/d", headers: ["If-Match": "*"])
            #expect(deleted.status == 204 && deleted.text.isEmpty)
            for answer in [try await test.send(.DELETE, "/devices/d"), try await test.send(.GET, "/devices/d")] {
                #expect(answer.status == 404 && answer.code == "DeviceNotFound")
                #expect(answer.message == "ErrorCode:DeviceNotFound;The device with ID 'd' was not found.")
            }
        }
    }

    @Test func `rest_service 018 rest_service 029 rest_service 030 what a device can't be is refused`() async throws {
        try await TestHub.with { test in
            let long = String(repeating: "a", count: 129)
            let short = Base64.encode([UInt8](repeating: 1, count: 15))
            let cases: [(String, String, String)] = [
                ("/devices/invalid%2Fname", "{}", "ArgumentInvalid"), ("/devices/\(long)", "{}", "ArgumentInvalid"),
                ("/devices/d", #"{"deviceId":"other"}"#, "ArgumentInvalid"),
                ("/devices/d", #"{"authentication":{"symmetricKey":{"primaryKey":"\#(short)"}}}"#, "ArgumentInvalid"),
                ("/devices/d", #"{"authentication":{"symmetricKey":{"primaryKey":5}}}"#, "ArgumentInvalid"),
                ("/devices/d", #"{"authentication":{"type":"magic"}}"#, "ArgumentInvalid"),
                ("/devices/d", #"{"status":"asleep"}"#, "ArgumentInvalid"),
                ("/devices/d", #"{"authentication":[]}"#, "ArgumentInvalid"), ("/devices/d", "[]", "IotHubFormatError"),
                ("/devices/d", "", "IotHubFormatError"), ("/devices/d", "{", "IotHubFormatError"),
                ("/devices/d", String(repeating: "[", count: 100_000), "IotHubFormatError"),
            ]
            for (path, body, code) in cases {
                let answer = try await test.send(.PUT, path, body)
                #expect(answer.status == 400 && answer.code == code, "\(path) \(body.prefix(80))")
            }
            let all = "-:.+%25_%23*%3F!(),=@;$'" + String(repeating: "a", count: 110)
            #expect(try await test.send(.PUT, "/devices/\(all)", "{}").status == 200)
            #expect(try await test.send(.GET, "/devices/\(all)").status == 200)
        }
    }

    @Test func `rest_service 035 rest_service 036 the list is bounded by top`() async throws {
        try await TestHub.with { test in
            for id in ["c", "a", "b"] { _ = try await test.send(.PUT, "/devices/\(id)", "{}") }
            let all = try #require(try await test.send(.GET, "/devices").json)
            #expect(all.elements.map { $0["deviceId"]?.string } == ["a", "b", "c"])
            #expect(all.elements.allSatisfy { $0["authentication"]?.kind == .object })
            let two = try await test.send(.GET, "/devices?top=2")
            #expect(two.json?.elements.map { $0["deviceId"]?.string } == ["a", "b"])
            for top in ["0", "1001", "-1", "x"] {
                #expect(try await test.send(.GET, "/devices?top=\(top)").status == 400)
            }
        }
    }

    @Test func `rest_service 100 statistics count devices and connections`() async throws {
        try await TestHub.with { test in
            _ = try await test.send(.POST, "/devices", #"[{"id":"a"},{"id":"b","status":"disabled"}]"#)
            let devices = try await test.send(.GET, "/statistics/devices")
            #expect(devices.text == #"{"totalDeviceCount":2,"enabledDeviceCount":1,"disabledDeviceCount":1}"#)
            #expect(try await test.send(.GET, "/statistics/service").text == #"{"connectedDeviceCount":0}"#)
        }
    }

    @Test func `rest_service 102 rest_service 012 every error has its members and header and says JSON`() async throws {
        try await TestHub.with { test in
            let requests: [(HTTPMethod, String, Int, String)] = [
                (.GET, "/nothing", 404, "GenericNotFound"), (.PATCH, "/devices/d", 405, "GenericMethodNotAllowed"),
                (.GET, "/devices/missing", 404, "DeviceNotFound"), (.GET, "/twins/d", 404, "DeviceNotFound"),
                (.POST, "/devices/query", 501, "FeatureNotSupported"),
                (.GET, "/jobs/v2/query", 501, "FeatureNotSupported"),
                (.GET, "/configurations", 501, "FeatureNotSupported"),
            ]
            for (method, path, status, code) in requests {
                let answer = try await test.send(method, path)
                #expect(answer.status == status && answer.code == code, "\(method) \(path)")
                #expect(answer.json?.members.map(\.name) == ["Message", "ExceptionMessage"])
                #expect(answer.message?.hasPrefix("ErrorCode:\(code);") == true)
                #expect(answer.json?["ExceptionMessage"]?.string?.hasPrefix("Tracking ID:") == true)
                #expect(answer.headers.first(name: "Content-Type")?.contains("application/json") == true)
            }
            let digital = try await test.send(.GET, "/digitaltwins/d")
            #expect(digital.status == 501 && digital.json?["ExceptionMessage"]?.string == "")
            let inner = try JSONDocument(parsing: digital.message ?? "").root
            #expect(inner["errorCode"]?.int == 404_013 && inner["info"]?.isNull == true)
        }
    }

    @Test func `rest_service 011 a POST that stands for another method is that method`() async throws {
        try await TestHub.with { test in
            let override = ["X-HTTP-Method-Override": "PATCH"]
            try await test.expect(404, .POST, "/twins/d", "{}", headers: override)
            try await test.expect(405, .POST, "/devices", "[]", headers: override)
        }
    }

    @Test func `security 039 a disabled device does not sign in until it is enabled again`() async throws {
        try await TestHub.with { test in
            let keys =
                #""authentication":{"symmetricKey":{"primaryKey":"\#(Self.key)","secondaryKey":"\#(Self.otherKey)"}}"#
            _ = try await test.send(.PUT, "/devices/d", "{\(keys)}")
            let resource = "\(TestHub.hostName)%2Fdevices%2Fd"
            let token = test.token("x", resource: resource, key: Self.key).replacing("&skn=x", with: "")
            let id = IdentityID(device: "d")
            _ = try await test.hub.authenticate(id, credential: .token(token))
            for (status, isGood) in [("disabled", false), ("enabled", true)] {
                let body = #"{"status":"\#(status)",\#(keys)}"#
                try await test.expect(200, .PUT, "/devices/d", body, headers: ["If-Match": "*"])
                do {
                    _ = try await test.hub.authenticate(id, credential: .token(token))
                    #expect(isGood)
                } catch {
                    #expect(!isGood && (error as? HubError)?.code == .unauthorized)
                }
            }
        }
    }
}
