// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import Hub
import HubModel
import JSON
import NIOHTTP1
import Testing

@testable import HTTPFront

/// `POST /devices/keys/regenerate` (docs/wire/http.md#keys).
struct KeyRouteTests {
    private static let path = "/devices/keys/regenerate"

    private static func keys(_ test: TestHub, _ path: String) async throws -> CredentialPair {
        let keys = try await test.send(.GET, path).json?["authentication"]?["symmetricKey"]
        return CredentialPair(primary: keys?["primaryKey"]?.string, secondary: keys?["secondaryKey"]?.string)
    }

    private static func count(_ answer: TestHub.Answer, _ list: String) -> Int {
        answer.json?[list].map { Array($0.elements).count } ?? -1
    }

    @Test func `rest_service 101 both keys are changed and listed`() async throws {
        try await TestHub.with { test in
            let made = try await test.send(.PUT, "/devices/d", "{}")
            _ = try await test.send(.PUT, "/devices/d/modules/m", "{}")
            let old = try await Self.keys(test, "/devices/d")
            let body = #"{"policyKey":"both","devices":[{"id":"d"},{"id":"d","moduleId":"m"}]}"#
            let answer = try await test.send(.POST, Self.path, body)
            #expect(answer.status == 200)
            #expect(answer.json?.members.map(\.name) == ["policyKey", "rotatedKeys", "errors"])
            #expect(answer.json?["policyKey"]?.string == "both" && Self.count(answer, "errors") == 0)
            let rotated = try #require(answer.json?["rotatedKeys"].map { Array($0.elements) })
            #expect(rotated.map { $0["moduleId"]?.string } == [nil, "m"])
            let new = try await Self.keys(test, "/devices/d")
            #expect(new.primary != old.primary && new.secondary != old.secondary)
            #expect(rotated[0]["primaryKey"]?.string == new.primary)
            #expect(rotated[0]["secondaryKey"]?.string == new.secondary)
            let moduleKeys = try await Self.keys(test, "/devices/d/modules/m")
            #expect(rotated[1]["primaryKey"]?.string == moduleKeys.primary)
            let after = try await test.send(.GET, "/devices/d")
            #expect(after.json?["etag"]?.string != made.json?["etag"]?.string)
        }
    }

    @Test func `security 040 connections on the changed key end and those on the other stay`() async throws {
        try await TestHub.with { test in
            for id in ["a", "b"] { _ = try await test.send(.PUT, "/devices/\(id)", "{}") }
            let changed = try await ScriptedDevice(test.hub, IdentityID(device: "a"), key: .secondary)
            let kept = try await ScriptedDevice(test.hub, IdentityID(device: "b"), key: .primary)
            let old = try await Self.keys(test, "/devices/a")
            let body = #"{"policyKey":"SecondaryKey","devices":[{"id":"a"},{"id":"b"}]}"#
            #expect(try await test.send(.POST, Self.path, body).status == 200)
            let new = try await Self.keys(test, "/devices/a")
            #expect(new.primary == old.primary && new.secondary != old.secondary)
            #expect(try await changed.disconnectReason == .revoked)
            #expect(try await kept.disconnectReason == nil)
        }
    }

    @Test func `what can't have keys is told beside what has`() async throws {
        try await TestHub.with { test in
            _ = try await test.send(.PUT, "/devices/d", "{}")
            _ = try await test.send(.PUT, "/devices/x", #"{"authentication":{"type":"certificateAuthority"}}"#)
            let some = try await test.send(
                .POST,
                Self.path,
                #"{"policyKey":"primaryKey","devices":[{"id":"d"},{"id":"x"},{"id":"none"},{"id":"d","moduleId":"m"}]}"#
            )
            #expect(some.status == 207 && Self.count(some, "rotatedKeys") == 1)
            let codes = some.json?["errors"].map { $0.elements.map { $0["errorCode"]?.int } }
            #expect(codes == [400_004, 404_001, 404_010])
            let none = try await test.send(.POST, Self.path, #"{"policyKey":"both","devices":[{"id":"x"}]}"#)
            #expect(none.status == 400 && none.code == "BulkRegenerateDeviceKeyOperationFailure")
            #expect(Self.count(none, "errors") == 1)
        }
    }

    @Test func `a request that makes no sense is refused as a whole`() async throws {
        try await TestHub.with { test in
            _ = try await test.send(.PUT, "/devices/d", "{}")
            let old = try await Self.keys(test, "/devices/d")
            let many = (0...100).map { #"{"id":"d\#($0)"}"# }.joined(separator: ",")
            let cases = [
                (#"{"policyKey":"other","devices":[{"id":"d"}]}"#, "InvalidPolicyKey"),
                (#"{"devices":[{"id":"d"}]}"#, "InvalidPolicyKey"), ("[]", "IotHubFormatError"),
                (#"{"policyKey":"both"}"#, "ArgumentInvalid"),
                (#"{"policyKey":"both","devices":[]}"#, "ArgumentInvalid"),
                (#"{"policyKey":"both","devices":[{}]}"#, "ArgumentInvalid"),
                (#"{"policyKey":"both","devices":[{"id":"d"},{"id":"d"}]}"#, "DeviceDefinedMultipleTimes"),
                (#"{"policyKey":"both","devices":[\#(many)]}"#, "TooManyDevices"),
            ]
            for (body, code) in cases {
                let answer = try await test.send(.POST, Self.path, body)
                #expect(answer.code == code, "\(body.prefix(60))")
            }
            let body = #"{"policyKey":"both","devices":[{"id":"d"}]}"#
            for policy in ["registryRead", "service", "device"] {
                #expect(try await test.send(.POST, Self.path, body, as: policy).status == 401)
            }
            #expect(try await Self.keys(test, "/devices/d") == old)
        }
    }
}
