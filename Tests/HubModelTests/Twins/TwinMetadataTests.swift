// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import HubModel
import JSON
import NIOCore
import Testing

struct TwinMetadataTests {
    private let fresh = Twin(freshFor: TwinFixtures.id)

    @Test func `rest_service 056 a patch stamps what it writes and all above it`() throws {
        let first = try fresh.desiring(#"{"a":{"b":1,"c":[{"x":1}]},"d":4}"#, at: 1_000).twin
        let second = try first.desiring(#"{"a":{"b":2}}"#, at: TwinFixtures.now).twin
        let desired = try #require(TwinFixtures.document(second)["properties"]?["desired"])
        #expect(desired["$version"]?.int == 3)
        let new = #""$lastUpdated":"\#(TwinFixtures.nowText)","$lastUpdatedVersion":3"#
        let old = #""$lastUpdated":"1970-01-01T00:00:01.0000000Z","$lastUpdatedVersion":2"#
        #expect(
            desired["$metadata"]?.raw.text == "{\(new),\"a\":{\(new),\"b\":{\(new)},\"c\":{\(old)}},\"d\":{\(old)}}"
        )
    }

    @Test func `metadata of reported properties has no versions`() throws {
        let twin = try fresh.reporting(#"{"a":1}"#).twin
        let stamp = #""$lastUpdated":"\#(TwinFixtures.nowText)""#
        let reported = try #require(TwinFixtures.document(twin)["properties"]?["reported"])
        #expect(reported.raw.text == #"{"a":1,"$metadata":{\#(stamp),"a":{\#(stamp)}},"$version":2}"#)
    }

    @Test func `a replacement stamps everything`() throws {
        let twin = try fresh.desiring(#"{"a":1}"#, at: 1_000).twin
            .replaced(#"{"properties":{"desired":{"a":1}}}"#).twin
        #expect(
            twin.desired.stamps.values
                == Array(repeating: TwinStamp(milliseconds: TwinFixtures.now, version: 3), count: 2)
        )
    }

    @Test func `stamps are stored as runs and read back`() throws {
        let twin = try fresh.desiring(#"{"a":{"b":1,"c":2},"d":4}"#, at: 1_000).twin.desiring(#"{"d":5}"#).twin
        var buffer = ByteBuffer()
        twin.desired.stamps.write(to: &buffer)
        #expect(buffer.readableBytes == 1 + 3 * 20)
        #expect(TwinStamps(reading: buffer, countMax: 5) == twin.desired.stamps)
        #expect(TwinStamps(reading: buffer, countMax: 4) == nil)
        for length in 0..<buffer.readableBytes where (length - 1) % 20 != 0 || length == 1 {
            #expect(try TwinStamps(reading: #require(buffer.getSlice(at: 0, length: length)), countMax: 5) == nil)
        }
    }

    @Test func `the document of a device names all its members in order`() throws {
        var identity = RegisteredIdentity(id: TwinFixtures.id, generationID: "1", etag: "MQ==")
        identity.statusReason = "sold"
        identity.deviceScope = "ms-azure-iot-edge://e"
        identity.parentScopes = ["ms-azure-iot-edge://e"]
        let document = try TwinFixtures.document(fresh.patched(#"{"tags":{"a":1}}"#).twin, identity)
        #expect(
            document.members.map(\.name) == [
                "deviceId", "etag", "deviceEtag", "status", "statusReason", "statusUpdateTime", "connectionState",
                "lastActivityTime", "cloudToDeviceMessageCount", "authenticationType", "x509Thumbprint", "modelId",
                "version", "tags", "properties", "capabilities", "deviceScope", "parentScopes",
            ]
        )
        #expect(document["etag"]?.string == "AAAAAAAAAAI=")
        #expect(document["deviceEtag"]?.string == "MQ==")
        #expect(document["statusUpdateTime"]?.string == "0001-01-01T00:00:00Z")
    }

    @Test func `messages 058 the document of a module names the module and nothing of the device`() throws {
        let id = IdentityID(device: "d1", module: "m1")
        let document = try TwinFixtures.document(Twin(freshFor: id))
        #expect(document["moduleId"]?.string == "m1")
        #expect(document["capabilities"] == nil)
    }

    @Test func `the event of a patch holds what it wrote and its metadata`() throws {
        let body = #"{"tags":{"room":null},"properties":{"desired":{"limit":80,"old":null}}}"#
        let change = try TwinChange(
            serviceBody: ByteBuffer(string: body),
            replaces: false,
            limits: TwinFixtures.limits
        )
        let update = try fresh.applying(
            change,
            atMilliseconds: TwinFixtures.now,
            limits: TwinFixtures.limits
        )
        let stamp = #""$lastUpdated":"\#(TwinFixtures.nowText)","$lastUpdatedVersion":2"#
        #expect(
            try update.eventBody(of: change).text
                == #"{"version":3,"tags":{"room":null},"properties":{"desired":{"limit":80,"old":null,"#
                + #""$metadata":{\#(stamp),"limit":{\#(stamp)}},"$version":2}}}"#
        )
    }

    @Test(arguments: [
        (Int64(0), "1970-01-01T00:00:00.0000000Z"), (951_782_400_000, "2000-02-29T00:00:00.0000000Z"),
        (-1, "1969-12-31T23:59:59.9990000Z"), (1_735_689_599_999, "2024-12-31T23:59:59.9990000Z"),
        (253_402_300_799_999, "9999-12-31T23:59:59.9990000Z"), (TwinStamp.never.milliseconds, "0001-01-01T00:00:00Z"),
    ])
    func `a time is written with seven digits`(_ milliseconds: Int64, _ text: String) {
        #expect(UTCTime.text(milliseconds: milliseconds) == text)
    }
}
