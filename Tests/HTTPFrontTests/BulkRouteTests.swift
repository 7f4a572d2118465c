// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import JSON
import NIOCore
import NIOHTTP1
import Testing

struct BulkRouteTests {
    @Test func `rest_service 047 rest_service 048 import modes match in any letter case and success is plain`()
        async throws
    {
        try await TestHub.with { test in
            let made = try await test.send(.POST, "/devices", #"[{"id":"d","importMode":"create"}]"#)
            #expect(made.status == 200)
            #expect(made.text == #"{"isSuccessful":true,"errors":[],"warnings":[]}"#)
            for mode in ["Update", "update", "UPDATE", "createOrUpdate", "CreateOrUpdate"] {
                let answer = try await test.send(.POST, "/devices", #"[{"id":"d","importMode":"\#(mode)"}]"#)
                #expect(answer.status == 200, "\(mode)")
            }
            #expect(try await test.send(.POST, "/devices", #"[{"id":"e"}]"#).status == 200)
            #expect(try await test.send(.POST, "/devices", #"[{"id":"d","importMode":"Delete"}]"#).status == 200)
            #expect(try await test.send(.GET, "/devices/d").status == 404)
            #expect(try await test.send(.GET, "/devices/e").status == 200)
        }
    }

    @Test
    func `rest_service 049 rest_service 050 messages 068 a failing item is reported, the others take effect`()
        async throws
    {
        try await TestHub.with { test in
            _ = try await test.send(.PUT, "/devices/b", "{}")
            let body = #"""
                [{"id":"a","importMode":"create"},{"id":"b","importMode":"create"},{"id":"c","importMode":"magic"},
                {"id":"d","authentication":{"symmetricKey":{"primaryKey":"x"}}},{"id":"e","moduleId":"m"}]
                """#
            let answer = try await test.send(.POST, "/devices", body)
            #expect(answer.status == 400)
            #expect(answer.headers.first(name: "iothub-errorcode") == "BulkRegistryOperationFailure")
            #expect(answer.headers.first(name: "IotHubErrorCode") == "BulkRegistryOperationFailure")
            let json = try #require(answer.json)
            #expect(json["isSuccessful"]?.bool == false)
            let errors = try #require(json["errors"]).elements.map { error in
                [error["deviceId"]?.string ?? "", error["errorCode"]?.string ?? ""]
            }
            #expect(
                errors == [
                    ["b", "DeviceAlreadyExists"], ["c", "ArgumentInvalid"], ["d", "ArgumentInvalid"],
                    ["e", "DeviceNotFound"],
                ]
            )
            let first = json["errors"].flatMap { Array($0.elements).first }
            #expect(first?["errorStatus"]?.string == "A device with ID 'b' is already registered.")
            #expect(first?["operation"]?.string == "create")
            #expect(try await test.send(.GET, "/devices/a").status == 200)
        }
    }

    @Test func `rest_service 051 messages 069 too many items and one device twice are refused as a whole`() async throws
    {
        try await TestHub.with { test in
            let many = (0...100).map { #"{"id":"d\#($0)"}"# }.joined(separator: ",")
            let refused = try await test.send(.POST, "/devices", "[\(many)]")
            #expect(refused.status == 413 && refused.code == "TooManyDevices")
            #expect(try await test.send(.POST, "/devices", "[]").status == 400)
            let modules = try await test.send(.POST, "/devices", #"[{"id":"d"},{"id":"d","moduleId":"m"}]"#)
            #expect(modules.status == 200)
            _ = try await test.send(.DELETE, "/devices/d")
            let sameModule = #"[{"id":"d","moduleId":"m"},{"id":"d","moduleId":"m","importMode":"updateTwin"}]"#
            #expect(try await test.send(.POST, "/devices", sameModule).code == "DeviceDefinedMultipleTimes")
            let twice = try await test.send(.POST, "/devices", #"[{"id":"d"},{"id":"d"}]"#)
            #expect(twice.status == 400 && twice.code == "DeviceDefinedMultipleTimes")
            #expect(twice.message == "ErrorCode:DeviceDefinedMultipleTimes;DeviceDefinedMultipleTimes, device ID d")
            #expect(twice.headers.first(name: "IotHubErrorCode") == nil)
            for body in ["{}", #"[1]"#, #"[{}]"#, "["] {
                #expect(try await test.send(.POST, "/devices", body).status == 400)
            }
            #expect(try await test.send(.GET, "/devices").text == "[]")
        }
    }

    @Test func `rest_service 053 rest_service 054 entity tags guard items and scopes are stored as given`() async throws
    {
        try await TestHub.with { test in
            let made = try await test.send(.PUT, "/devices/d", "{}")
            let etag = try #require(made.json?["etag"]?.string)
            func item(_ mode: String, _ etag: String) -> String {
                #"[{"id":"d","importMode":"\#(mode)","eTag":"\#(etag)","deviceScope":"ms-azure-iot-edge://x-1"}]"#
            }
            let stale = try await test.send(.POST, "/devices", item("updateIfMatchETag", "bad"))
            #expect(
                stale.json?["errors"].flatMap { Array($0.elements).first?["errorCode"]?.string } == "PreconditionFailed"
            )
            #expect(try await test.send(.GET, "/devices/d").text == made.text)
            #expect(try await test.send(.POST, "/devices", item("UpdateIfMatchETag", etag)).status == 200)
            let scope = try await test.send(.GET, "/devices/d").json?["deviceScope"]?.string
            #expect(scope == "ms-azure-iot-edge://x-1")
            #expect(try await test.send(.POST, "/devices", item("deleteIfMatchETag", etag)).status == 400)
        }
    }

    private static func tags(_ test: TestHub, _ path: String) async throws -> String? {
        try await test.send(.GET, path).json?["tags"].map { String(buffer: $0.raw) }
    }

    private static func codes(_ answer: TestHub.Answer) -> [String?] {
        answer.json?["errors"]?.elements.map { $0["errorCode"]?.string } ?? []
    }

    @Test func `rest_service 052 updateTwin merges into the twin and leaves the rest of it alone`() async throws {
        try await TestHub.with { test in
            _ = try await test.send(.PUT, "/devices/d", "{}")
            _ = try await test.send(.PATCH, "/twins/d", #"{"tags":{"a":1},"properties":{"desired":{"x":1}}}"#)
            let item = #"{"id":"d","importMode":"UpdateTwin","tags":{"b":2},"twinETag":"stale","properties":null}"#
            #expect(try await test.send(.POST, "/devices", "[\(item)]").text.contains(#""isSuccessful":true"#))
            let twin = try #require(try await test.send(.GET, "/twins/d").json)
            #expect(try await Self.tags(test, "/twins/d") == #"{"a":1,"b":2}"#)
            #expect(twin["properties"]?["desired"]?["$version"]?.int == 2)
            #expect(twin["version"]?.int == 4)
            let device = try await test.send(.GET, "/devices/d").json
            #expect(twin["deviceEtag"]?.string == device?["etag"]?.string)
            let missing = try await test.send(.POST, "/devices", #"[{"id":"x","importMode":"updateTwin","tags":{}}]"#)
            #expect(missing.status == 400 && Self.codes(missing) == ["DeviceNotFound"])
            #expect(try await test.send(.GET, "/devices/x").status == 404)
        }
    }

    @Test func `updateTwinIfMatchETag holds to the twin's entity tag`() async throws {
        try await TestHub.with { test in
            _ = try await test.send(.PUT, "/devices/d", "{}")
            let mode = #"{"id":"d","importMode":"updateTwinIfMatchETag","tags":{"a":1}"#
            let bare = try await test.send(.POST, "/devices", "[\(mode)}]")
            #expect(Self.codes(bare) == ["ArgumentInvalid"])
            let stale = try await test.send(.POST, "/devices", #"[\#(mode),"twinETag":"AAAAAAAAAAI="}]"#)
            #expect(Self.codes(stale) == ["PreconditionFailed"])
            #expect(try await Self.tags(test, "/twins/d") == nil)
            let good = try await test.send(.POST, "/devices", #"[\#(mode),"twinETag":"AAAAAAAAAAE="}]"#)
            #expect(good.status == 200)
            #expect(try await Self.tags(test, "/twins/d") == #"{"a":1}"#)
        }
    }

    @Test func `devices and modules are registered with their twins`() async throws {
        try await TestHub.with { test in
            let twin = #""tags":{"t":[1.50]},"properties":{"desired":{"a":1,"$version":9},"reported":{"r":1}}"#
            let body = #"""
                [{"id":"d","importMode":"create",\#(twin)},{"id":"p","importMode":"create"}]
                """#
            #expect(try await test.send(.POST, "/devices", body).status == 200)
            let modules = #"""
                [{"id":"d","moduleId":"m","importMode":"create","managedBy":"me",\#(twin)},{"id":"p","moduleId":"m"}]
                """#
            #expect(try await test.send(.POST, "/devices", modules).status == 200)
            for path in ["/twins/d", "/twins/d/modules/m"] {
                #expect(try await Self.tags(test, path) == #"{"t":[1.50]}"#)
                let properties = try await test.send(.GET, path).json?["properties"]
                #expect(properties?["desired"]?["a"]?.int == 1 && properties?["desired"]?["$version"]?.int == 2)
                #expect(properties?["reported"]?["r"] == nil)
            }
            #expect(try await test.send(.GET, "/devices/d/modules/m").json?["managedBy"]?.string == "me")
            // What an update says of a section replaces it; of what it does not speak, nothing changes.
            let update = #"[{"id":"d","importMode":"update","tags":{"u":1}}]"#
            #expect(try await test.send(.POST, "/devices", update).status == 200)
            #expect(try await Self.tags(test, "/twins/d") == #"{"u":1}"#)
            #expect(try await test.send(.GET, "/twins/d").json?["properties"]?["desired"]?["a"]?.int == 1)
            let gone =
                #"[{"id":"d","moduleId":"m","importMode":"delete"},{"id":"d","moduleId":"x","importMode":"delete"}]"#
            let deleted = try await test.send(.POST, "/devices", gone)
            #expect(Self.codes(deleted) == ["ModuleNotFound"])
            #expect(try await test.send(.GET, "/devices/d/modules").text == "[]")
        }
    }

    @Test func `a twin that breaks a rule is an error of its item and one that fails later a warning`() async throws {
        try await TestHub.with { test in
            let large = (0..<3).map { "\"t\($0)\":\"\(String(repeating: "x", count: 4000))\"" }.joined(separator: ",")
            let body = #"""
                [{"id":"a","tags":{"bad name":1}},{"id":"b","tags":{\#(large)}},{"id":"c","properties":{"desired":[]}}]
                """#
            let answer = try await test.send(.POST, "/devices", body)
            #expect(answer.status == 400 && Self.codes(answer) == ["ArgumentInvalid", "ArgumentInvalid"])
            let warning = answer.json?["warnings"].flatMap { Array($0.elements).first }
            #expect(warning?["deviceId"]?.string == "b")
            #expect(warning?["warningCode"]?.string == "DeviceRegisteredWithoutTwin")
            let made = try await test.send(.GET, "/devices").json
            #expect(made?.elements.map { $0["deviceId"]?.string } == ["b"])
        }
    }

    @Test func `createOrUpdateIfMatchETag makes what is missing`() async throws {
        try await TestHub.with { test in
            let item = #"[{"id":"d","importMode":"createOrUpdateIfMatchETag","eTag":"MQ=="}]"#
            #expect(try await test.send(.POST, "/devices", item).status == 200)
            let again = try await test.send(.POST, "/devices", item)
            #expect(Self.codes(again) == ["PreconditionFailed"])
        }
    }
}
