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

/// `POST /twins/{id}/methods` (docs/wire/http.md#methods).
struct MethodRouteTests {
    private static let path = "/twins/d/methods"
    private static let device = IdentityID(device: "d")
    private static let module = IdentityID(device: "d", module: "m")
    private static let call = #"{"methodName":"reboot"}"#

    /// Runs a hub with the device `d` and its module `m`, whose time-outs are those of the test.
    private static func with(
        _ limits: MethodLimits = MethodLimits(),
        _ body: (TestHub) async throws -> Void
    ) async throws {
        var hubLimits = Limits()
        hubLimits.methods = limits
        try await TestHub.with(hubLimits: hubLimits) { test in
            _ = try await test.send(.PUT, "/devices/d", "{}")
            _ = try await test.send(.PUT, "/devices/d/modules/m", "{}")
            try await body(test)
        }
    }

    /// Checks a refusal in the form that SDKs parse here: the number stands in a JSON text within the message.
    private static func expect(_ answer: TestHub.Answer, _ status: Int, _ number: Int64, _ name: String) throws {
        #expect(answer.status == status && answer.code == name, "\(answer.status) \(answer.code ?? "")")
        #expect(answer.json?["ExceptionMessage"]?.string == "")
        let inner = try JSONDocument(parsing: answer.message ?? "").root
        #expect(inner["errorCode"]?.int == number)
        #expect(inner["info"]?.isNull == true)
        #expect(inner.members.allSatisfy { $0.value.kind != .object })
    }

    private static func result(_ status: Int32, _ text: String = "") -> MethodResult {
        MethodResult(status: status, payload: ByteBuffer(string: text))
    }

    @Test func `rest_service 067 rest_service 069 messages 059 the device's status and text come back as they are`()
        async throws
    {
        try await Self.with { test in
            for (status, text) in [(Int32(418), #"{ "b" : 1.50, "a":[ 1,2 ] }"#), (-1, #""text""#), (0, "null")] {
                _ = try await ScriptedDevice(test.hub, Self.device) { _ in Self.result(status, text) }
                let answer = try await test.send(.POST, Self.path, Self.call, as: "service")
                #expect(answer.status == 200)
                #expect(answer.text == #"{"status":\#(status),"payload":\#(text)}"#)
                #expect(answer.headers.first(name: "Content-Type")?.contains("application/json") == true)
            }
        }
    }

    @Test func `rest_service 068 an answer without payload has the member null`() async throws {
        try await Self.with { test in
            _ = try await ScriptedDevice(test.hub, Self.module) { _ in Self.result(200) }
            let answer = try await test.send(.POST, "/twins/d/modules/m/methods", Self.call)
            #expect(answer.text == #"{"status":200,"payload":null}"#)
            // The device itself is another identity.
            try Self.expect(try await test.send(.POST, Self.path, Self.call), 404, 404_103, "DeviceNotOnline")
        }
    }

    @Test func `the argument reaches the device as it was written`() async throws {
        try await Self.with { test in
            let device = try await ScriptedDevice(test.hub, Self.device) { _ in Self.result(200) }
            let arguments = [#"{ "x" : 1.50 , "y":[ ] }"#, "null", #""""#, "-0.0", "[1, 2]", "true"]
            for argument in arguments {
                let body = #"{"methodName":"a.b c%","payload":\#(argument),"unknown":{}}"#
                #expect(try await test.send(.POST, Self.path, body).status == 200)
            }
            _ = try await test.send(.POST, Self.path, Self.call)
            let calls = try await device.calls
            #expect(calls.map { String(buffer: $0.payload) } == arguments + [""])
            #expect(calls.map(\.name).first == "a.b c%" && Set(calls.map(\.id)).count == calls.count)
        }
    }

    @Test func `rest_service 070 messages 060 a device that is not there is not online`() async throws {
        try await Self.with { test in
            let answer = try await test.send(.POST, Self.path, Self.call)
            try Self.expect(answer, 404, 404_103, "DeviceNotOnline")
            let inner = try JSONDocument(parsing: answer.message ?? "").root
            #expect(inner["message"]?.string == "Timed out waiting for device to connect.")
            let patient = #"{"methodName":"m","connectTimeoutInSeconds":1}"#
            let start = ContinuousClock.now
            try Self.expect(try await test.send(.POST, Self.path, patient), 404, 404_103, "DeviceNotOnline")
            #expect(ContinuousClock.now - start >= .seconds(1))
        }
    }

    @Test func `rest_service 071 messages 061 messages 062 no answer in time is a time-out of bounded length`()
        async throws
    {
        var limits = MethodLimits()
        limits.responseTimeoutSeconds = 1...2
        limits.responseTimeoutSecondsDefault = 1
        try await Self.with(limits) { test in
            _ = try await ScriptedDevice(test.hub, Self.device)
            // Absent and zero are the default; what is longer or shorter than allowed is cut. Each waits by itself.
            let members = [
                "", #","responseTimeoutInSeconds":0"#, #","responseTimeoutInSeconds":null,"timeout":100000"#,
                #","responseTimeoutInSeconds":9223372036854775807"#, #","connectTimeoutInSeconds":99999"#,
            ]
            try await withThrowingTaskGroup { group in
                for member in members {
                    group.addTask {
                        let answer = try await test.send(.POST, Self.path, #"{"methodName":"m"\#(member)}"#)
                        try Self.expect(answer, 504, 504_101, "GatewayTimeout")
                    }
                }
                try await group.waitForAll()
            }
        }
    }

    @Test func `messages 063 an answer that comes too late is dropped`() async throws {
        var limits = MethodLimits()
        limits.responseTimeoutSeconds = 1...1
        try await Self.with(limits) { test in
            let device = try await ScriptedDevice(test.hub, Self.device)
            try Self.expect(try await test.send(.POST, Self.path, Self.call), 504, 504_101, "GatewayTimeout")
            #expect(try await device.answer(try await device.firstCall(), Self.result(200)) == false)
        }
    }

    @Test func `rest_service 072 rest_service 073 who is unknown is told apart`() async throws {
        try await Self.with { test in
            for (path, number, name) in [
                ("/twins/x/methods", Int64(404_001), "DeviceNotFound"),
                ("/twins/x/modules/m/methods", 404_001, "DeviceNotFound"),
                ("/twins/d/modules/x/methods", 404_010, "ModuleNotFound"),
            ] {
                try Self.expect(try await test.send(.POST, path, Self.call), 404, number, name)
            }
        }
    }

    @Test func `rest_service 074 a device that connects in time gets the call`() async throws {
        try await Self.with { test in
            async let answer = test.send(
                .POST,
                Self.path,
                #"{"methodName":"late","connectTimeoutInSeconds":300,"responseTimeoutInSeconds":300}"#
            )
            let device = try await ScriptedDevice(test.hub, Self.device) { _ in Self.result(202) }
            #expect(try await answer.text == #"{"status":202,"payload":null}"#)
            #expect(try await device.calls.map(\.name) == ["late"])
        }
    }

    @Test func `what goes wrong on the device's side has its own codes`() async throws {
        var limits = MethodLimits()
        limits.inFlightPerIdentityMax = 1
        try await Self.with(limits) { test in
            let device = try await ScriptedDevice(test.hub, Self.device)
            async let lost = test.send(.POST, Self.path, Self.call)
            _ = try await device.firstCall()
            let tooMany = try await test.send(.POST, Self.path, Self.call)
            try Self.expect(tooMany, 403, 403_800, "DeviceMaximumInflightMethodExceeded")
            try await device.close()
            try Self.expect(try await lost, 404, 404_104, "DeviceConnectionClosedRemotely")
            for text in ["{", "nope", #"{"a":1} {"#] {
                _ = try await ScriptedDevice(test.hub, Self.device) { _ in Self.result(200, text) }
                let garbage = try await test.send(.POST, Self.path, Self.call)
                try Self.expect(garbage, 502, 502_000, "InvalidResponseWhileProxying")
            }
        }
    }

    @Test func `a call that can't be is refused before the device hears of it`() async throws {
        try await Self.with { test in
            let device = try await ScriptedDevice(test.hub, Self.device)
            let long = String(repeating: "n", count: 101)
            // To Swift this is one character.
            let accents = "e" + String(repeating: "\u{301}", count: 40_000)
            let bodies = [
                "{}", #"{"methodName":""}"#, #"{"methodName":"\#(accents)"}"#, #"{"methodName":null}"#,
                #"{"methodName":7}"#,
                #"{"methodName":"\#(long)"}"#, #"{"methodName":"m","responseTimeoutInSeconds":-1}"#,
                #"{"methodName":"m","responseTimeoutInSeconds":1.5}"#,
                #"{"methodName":"m","connectTimeoutInSeconds":"5"}"#,
            ]
            for body in bodies {
                try Self.expect(try await test.send(.POST, Self.path, body), 400, 400_004, "ArgumentInvalid")
            }
            for body in ["", "[]", "{", #""m""#] {
                try Self.expect(try await test.send(.POST, Self.path, body), 400, 400_006, "IotHubFormatError")
            }
            let large = String(repeating: "1", count: 131_073)
            let refused = try await test.send(.POST, Self.path, #"{"methodName":"m","payload":\#(large)}"#)
            try Self.expect(refused, 413, 413_001, "MessageTooLarge")
            for policy in ["registryReadWrite", "device"] {
                let answer = try await test.send(.POST, Self.path, Self.call, as: policy)
                try Self.expect(answer, 401, 401_002, "IotHubUnauthorizedAccess")
            }
            try Self.expect(try await test.send(.GET, Self.path), 405, 405_000, "GenericMethodNotAllowed")
            #expect(try await device.calls.isEmpty)
        }
    }
}
