// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import JSON
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

    @Test func `rest_service 049 rest_service 050 a failing item is reported and the others take effect`() async throws
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
                    ["e", "FeatureNotSupported"],
                ]
            )
            let first = json["errors"].flatMap { Array($0.elements).first }
            #expect(first?["errorStatus"]?.string == "A device with ID 'b' is already registered.")
            #expect(first?["operation"]?.string == "create")
            #expect(try await test.send(.GET, "/devices/a").status == 200)
        }
    }

    @Test func `rest_service 051 too many items and one device twice are refused as a whole`() async throws {
        try await TestHub.with { test in
            let many = (0...100).map { #"{"id":"d\#($0)"}"# }.joined(separator: ",")
            #expect(try await test.send(.POST, "/devices", "[\(many)]").status == 400)
            #expect(try await test.send(.POST, "/devices", "[]").status == 400)
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

    @Test func `parts of a twin are answered with a warning`() async throws {
        try await TestHub.with { test in
            let answer = try await test.send(.POST, "/devices", #"[{"id":"d","tags":{"a":1}}]"#)
            #expect(answer.status == 200)
            let warning = answer.json?["warnings"].flatMap { Array($0.elements).first }
            #expect(warning?["warningCode"]?.string == "DeviceRegisteredWithoutTwin")
        }
    }
}
