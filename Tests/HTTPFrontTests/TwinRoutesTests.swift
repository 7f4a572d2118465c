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

/// `/twins` (docs/wire/http.md#twins).
struct TwinRoutesTests {
    private static let patch = #"{"tags":{"t":1},"properties":{"desired":{"a":{"b":1},"c":2}}}"#

    /// Runs a hub with the device `d` and its module `m`.
    private static func with(_ body: (TestHub) async throws -> Void) async throws {
        try await TestHub.with { test in
            _ = try await test.send(.PUT, "/devices/d", "{}")
            let module = RegisteredIdentity(
                id: IdentityID(device: "d", module: "m"),
                generationID: "1",
                etag: "MQ=="
            )
            _ = try await test.hub.stores.identities.apply([.put(module, .always)])[0].get()
            try await body(test)
        }
    }

    private static func desired(_ answer: TestHub.Answer) -> JSONValue? { answer.json?["properties"]?["desired"] }

    @Test func `rest_service 055 rest_service 065 a fresh twin and its entity tag`() async throws {
        try await Self.with { test in
            let answer = try await test.send(.GET, "/twins/d", as: "service")
            #expect(answer.status == 200)
            #expect(answer.headers.first(name: "ETag") == "\"AAAAAAAAAAE=\"")
            #expect(answer.headers.first(name: "Content-Type")?.contains("application/json") == true)
            #expect(answer.json?["etag"]?.string == "AAAAAAAAAAE=")
            #expect(answer.json?["version"]?.int == 2)
            #expect(answer.json?["deviceEtag"]?.string?.isEmpty == false)
            for section in ["desired", "reported"] {
                #expect(answer.json?["properties"]?[section]?["$version"]?.int == 1)
                #expect(answer.json?["properties"]?[section]?["$metadata"] != nil)
            }
        }
    }

    @Test func `rest_service 056 rest_service 057 rest_service 058 PATCH merges and answers the whole twin`()
        async throws
    {
        try await Self.with { test in
            let first = try await test.send(.PATCH, "/twins/d", Self.patch, as: "service")
            #expect(first.status == 200)
            #expect(Self.desired(first)?["$version"]?.int == 2)
            #expect(Self.desired(first)?["$metadata"]?["a"]?["b"]?["$lastUpdatedVersion"]?.int == 2)
            #expect(first.headers.first(name: "ETag") == "\"AAAAAAAAAAI=\"")
            let tags = try await test.send(.PATCH, "/twins/d", #"{"tags":{"u":2}}"#)
            #expect(Self.desired(tags)?["$version"]?.int == 2)
            #expect(tags.json?["tags"]?.raw == ByteBuffer(string: #"{"t":1,"u":2}"#))
            let third = try await test.send(
                .PATCH,
                "/twins/d",
                #"{"properties":{"desired":{"a":{"b":null}}}}"#
            )
            #expect(Self.desired(third)?["a"]?.raw == ByteBuffer(string: "{}"))
            #expect(Self.desired(third)?["$metadata"]?["a"]?["b"] == nil)
            #expect(Self.desired(third)?["$metadata"]?["c"]?["$lastUpdatedVersion"]?.int == 2)
        }
    }

    @Test func `rest_service 059 rest_service 060 messages 052 only the If-Match header counts`() async throws {
        try await Self.with { test in
            for stale in ["\"abc\"", "abc", "\"AAAAAAAAAAI=\""] {
                let refused = try await test.send(.PATCH, "/twins/d", Self.patch, headers: ["If-Match": stale])
                #expect(refused.status == 412)
                #expect(refused.code == "PreconditionFailed")
            }
            #expect(try await test.send(.GET, "/twins/d").json?["version"]?.int == 2)
            for good in ["\"AAAAAAAAAAE=\"", "AAAAAAAAAAI=", "*", "\"*\""] {
                try await test.expect(200, .PATCH, "/twins/d", Self.patch, headers: ["If-Match": good])
            }
            try await test.expect(200, .PUT, "/twins/d", #"{"etag":"wrong","tags":{}}"#, headers: [:])
        }
    }

    @Test func `rest_service 061 rest_service 062 the whole document goes back, and PUT replaces`() async throws {
        try await Self.with { test in
            _ = try await test.send(.PATCH, "/twins/d", Self.patch)
            let read = try await test.send(.GET, "/twins/d")
            let again = try await test.send(.PATCH, "/twins/d", read.text)
            #expect(again.status == 200)
            #expect(Self.desired(again)?["a"]?.raw == ByteBuffer(string: #"{"b":1}"#))
            let replaced = try await test.send(.PUT, "/twins/d", #"{"properties":{"desired":{"c":3}}}"#)
            #expect(Self.desired(replaced)?["a"] == nil)
            #expect(Self.desired(replaced)?["c"]?.int == 3)
            #expect(replaced.json?["properties"]?["reported"]?["$version"]?.int == 1)
        }
    }

    @Test(arguments: [
        #"{"a.b":1}"#, #"{"a$":1}"#, #"{"a b":1}"#, #"{"a":4503599627370496}"#, #"{"a":[null]}"#,
    ])
    func `rest_service 063 rest_service 064 messages 048 what breaks a rule is refused`(
        _ properties: String
    ) async throws {
        try await Self.with { test in
            for body in [#"{"tags":\#(properties)}"#, #"{"properties":{"desired":\#(properties)}}"#] {
                let answer = try await test.send(.PATCH, "/twins/d", body)
                #expect(answer.status == 400)
                #expect(answer.code == "ArgumentInvalid")
                #expect(answer.message?.hasPrefix("ErrorCode:ArgumentInvalid;") == true)
            }
            let malformed = try await test.send(.PATCH, "/twins/d", "{")
            #expect(malformed.code == "IotHubFormatError")
            #expect(try await test.send(.GET, "/twins/d").json?["version"]?.int == 2)
        }
    }

    @Test func `rest_service 066 messages 058 modules have twins of their own`() async throws {
        try await Self.with { test in
            let written = try await test.send(.PATCH, "/twins/d/modules/m", Self.patch, as: "service")
            #expect(written.json?["moduleId"]?.string == "m")
            #expect(written.json?["version"]?.int == 3)
            #expect(try await test.send(.GET, "/twins/d").json?["version"]?.int == 2)
            for (path, code) in [
                ("/twins/d/modules/missing", "ModuleNotFound"), ("/twins/missing", "DeviceNotFound"),
                ("/twins/missing/modules/m", "DeviceNotFound"), ("/twins/D", "DeviceNotFound"),
            ] {
                let answer = try await test.send(.GET, path)
                #expect(answer.status == 404)
                #expect(answer.code == code)
                #expect(try await test.send(.PATCH, path, Self.patch, headers: ["If-Match": "*"]).code == code)
            }
        }
    }

    @Test func `rest_service 007 twins ask for ServiceConnect, and a narrow token opens its own only`() async throws {
        try await Self.with { test in
            for (policy, status) in [
                ("service", 200), ("iothubowner", 200), ("registryReadWrite", 401), ("device", 401),
            ] {
                for method in [HTTPMethod.GET, .PATCH, .PUT] {
                    let body = method == .GET ? nil : Self.patch
                    #expect(try await test.send(method, "/twins/d", body, as: policy).status == status)
                }
            }
            let token = test.token("service", resource: "\(TestHub.hostName)%2Ftwins%2Fd")
            try await test.expect(200, .GET, "/twins/d", headers: ["Authorization": token])
            try await test.expect(401, .GET, "/twins/d2", headers: ["Authorization": token])
        }
    }

    @Test func `rest_service 011 a POST with a method override is a PATCH`() async throws {
        try await Self.with { test in
            let override = ["X-HTTP-Method-Override": "PATCH"]
            try await test.expect(200, .POST, "/twins/d", Self.patch, headers: override)
            #expect(try await test.send(.GET, "/twins/d").json?["version"]?.int == 3)
            #expect(try await test.send(.POST, "/twins/d", Self.patch).status == 405)
            #expect(try await test.send(.GET, "/twins/%2F").status == 400)
        }
    }
}
