// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import HubModel
import NIOCore
import Testing

@testable import MQTTFront

/// Every topic of docs/wire/mqtt.md, read and printed.
@Suite struct HubTopicTests {
    private static let device = IdentityID(device: "d1")
    private static let module = IdentityID(device: "d1", module: "m1")

    struct Reading: Sendable {
        var topic: String
        var id = HubTopicTests.device
        var expected: HubTopic?
    }

    private static func telemetry(_ bag: String) -> HubTopic { .telemetry(bag: ByteBuffer(string: bag)) }

    static let readings: [Reading] = [
        // The eight forms of telemetry, and one more that Java's modules send.
        Reading(topic: "devices/d1/messages/events", expected: telemetry("")),
        Reading(topic: "devices/d1/messages/events/", expected: telemetry("")),
        Reading(topic: "devices/d1/messages/events/a=b&c=d", expected: telemetry("a=b&c=d")),
        Reading(topic: "devices/d1/messages/events/a=b/", expected: telemetry("a=b")),
        Reading(topic: "devices/d1/messages/events//", expected: telemetry("")),
        Reading(topic: "devices/d1/messages/events/a=b/c/d", expected: telemetry("a=b/c/d")),
        Reading(topic: "devices/d1/modules/m1/messages/events", id: module, expected: telemetry("")),
        Reading(topic: "devices/d1/modules/m1/messages/events/", id: module, expected: telemetry("")),
        Reading(topic: "devices/d1/modules/m1/messages/events/a=b", id: module, expected: telemetry("a=b")),
        Reading(topic: "devices/d1/modules/m1/messages/events/a=b/", id: module, expected: telemetry("a=b")),
        Reading(topic: "devices/d1/modules/m1/messages/events//", id: module, expected: telemetry("")),
        // Not the client's.
        Reading(topic: "devices/d2/messages/events/", expected: nil),
        Reading(topic: "devices/d1/messages/eventsx", expected: nil),
        Reading(topic: "devices/d1/messages/event", expected: nil),
        Reading(topic: "devices/d1/modules/m1/messages/events/", expected: nil),
        Reading(topic: "devices/d1/messages/events/", id: module, expected: nil),
        Reading(topic: "devices/d1/messages/devicebound/a", expected: nil),
        Reading(topic: "foo/bar", expected: nil),
        Reading(topic: "$iothub", expected: nil),
        Reading(topic: "$iothub/", expected: nil),
        // Methods.
        Reading(
            topic: "$iothub/methods/res/200/?$rid=a1",
            expected: .methodResponse(status: 200, requestID: "a1")
        ),
        Reading(
            topic: "$iothub/methods/res/-1/?$rid=a&key=value",
            expected: .methodResponse(status: -1, requestID: "a")
        ),
        Reading(topic: "$iothub/methods/res/ok/?$rid=a", expected: .methodResponse(status: nil, requestID: "a")),
        Reading(topic: "$iothub/methods/res/200/x/?$rid=a", expected: nil),
        Reading(topic: "$iothub/methods/res/200/", expected: nil),
        Reading(topic: "$iothub/methods/POST/reboot/?$rid=1", expected: nil),
        // Twins.
        Reading(topic: "$iothub/twin/GET/?$rid=3", expected: .twinRead(requestID: "3")),
        Reading(topic: "$iothub/twin/GET?$rid=3", expected: .twinRead(requestID: "3")),
        Reading(topic: "$iothub/twin/GET/?x=1&$rid=3&$rid=4", expected: .twinRead(requestID: "3")),
        Reading(topic: "$iothub/twin/GET/", expected: .twinRead(requestID: nil)),
        Reading(topic: "$iothub/twin/PUT/?$rid=3", expected: nil),
        Reading(
            topic: "$iothub/twin/PATCH/properties/reported/?$rid=7",
            expected: .reportedPatch(requestID: "7", version: nil)
        ),
        Reading(
            topic: "$iothub/twin/PATCH/properties/reported/?$rid=7&$version=12",
            expected: .reportedPatch(requestID: "7", version: 12)
        ),
        // A condition that no version meets, not one that is missing.
        Reading(
            topic: "$iothub/twin/PATCH/properties/reported/?$rid=7&$version=new",
            expected: .reportedPatch(requestID: "7", version: -1)
        ),
        Reading(
            topic: "$iothub/twin/PATCH/properties/reported/?$version=99999999999999999999&$rid=&$version=1",
            expected: .reportedPatch(requestID: "", version: -1)
        ),
        // No topic of a PUBLISH holds a wildcard, but for properties and ids.
        Reading(topic: "$iothub/twin/GET/?$rid=a+b", expected: nil),
        Reading(topic: "$iothub/twin/PATCH/properties/reported/?$rid=#", expected: nil),
        Reading(topic: "$iothub/methods/res/+1/?$rid=1", expected: nil),
        // Signs that join with the one before them.
        Reading(topic: "$iothub/twin/GET/?$rid=\u{338}x", expected: .twinRead(requestID: "\u{338}x")),
        Reading(topic: "$iothub/twin/GET/?$rid=\u{301}&x=1", expected: .twinRead(requestID: "\u{301}")),
        Reading(
            topic: "$iothub/twin/PATCH/properties/reported/",
            expected: .reportedPatch(requestID: nil, version: nil)
        ),
        Reading(topic: "$iothub/twin/PATCH/properties/desired/?$rid=7", expected: nil),
        // Certificates.
        Reading(
            topic: "$iothub/credentials/POST/issueCertificate/?$rid=9",
            expected: .certificateRequest(requestID: "9")
        ),
        Reading(topic: "$iothub/credentials/POST/other/?$rid=9", expected: nil),
    ]

    @Test func `a client's topic is read as what it is`() {
        for reading in Self.readings {
            let topic = HubTopic.parse(ByteBuffer(string: reading.topic), in: TopicScope(reading.id))
            #expect(topic == reading.expected, "\(reading.topic)")
        }
    }

    @Test func `what a client may send prints as it is read`() {
        for reading in Self.readings {
            guard let topic = reading.expected else { continue }
            let scope = TopicScope(reading.id)
            let printed = topic.printed(in: scope)
            #expect(HubTopic.parse(ByteBuffer(string: printed), in: scope) == topic, "\(printed)")
        }
    }

    @Test func `the hub's topics print as SDKs take them apart`() {
        let scope = TopicScope(Self.device)
        let printed: [(HubTopic, String)] = [
            (.methodRequest(name: "reboot", requestID: "1f"), "$iothub/methods/POST/reboot/?$rid=1f"),
            (.twinResponse(status: 200, requestID: "3", version: nil), "$iothub/twin/res/200/?$rid=3"),
            (.twinResponse(status: 204, requestID: "3", version: 5), "$iothub/twin/res/204/?$rid=3&$version=5"),
            (.desiredPatch(version: 8), "$iothub/twin/PATCH/properties/desired/?$version=8"),
            (.command(bag: "%24.to=x"), "devices/d1/messages/devicebound/%24.to=x"),
            (.certificateResponse(status: 202, requestID: "9"), "$iothub/credentials/res/202/?$rid=9"),
        ]
        for (topic, text) in printed { #expect(topic.printed(in: scope) == text) }
        let input = HubTopic.moduleInput(name: "in1", bag: "k=v").printed(in: TopicScope(Self.module))
        #expect(input == "devices/d1/modules/m1/inputs/in1/k=v")
    }

    @Test(arguments: [
        "devices/d1/messages/devicebound/#", "$iothub/methods/POST/#", "$iothub/twin/res/#",
        "$iothub/twin/PATCH/properties/desired/#", "$iothub/credentials/res/#", "#", "devices/d1/#",
        "devices/d1/messages/#", "devices/d1/messages/devicebound/+", "devices/d1/messages/devicebound",
        "$iothub/methods/POST/reboot/#", "$iothub/methods/POST/+/+", "+/d1/messages/devicebound/#", "devices/+/#",
        "$iothub/#", "$iothub/twin/res/200/#", "+/+/+/+/+",
    ])
    func `a device may subscribe to what the hub can send it`(_ filter: String) {
        #expect(TopicScope(Self.device).accepts(filter: filter))
    }

    @Test(arguments: [
        "devices/d2/messages/devicebound/#", "devices/d2/#", "devices/d1/messages/events/#", "foo/bar", "+", "+/+",
        "devices/d1/messages/devicebound/+/x", "devices/d1/modules/m1/inputs/#", "$iothub/twin/GET/#",
        "$iothub/methods",
        "+/methods/POST/#", "devices/d1/messages/devicebound/", "$share/x/#",
    ])
    func `a device may not subscribe to what the hub never sends it`(_ filter: String) {
        #expect(!TopicScope(Self.device).accepts(filter: filter))
    }

    @Test(arguments: [
        "devices/d1/modules/m1/inputs/#", "devices/d1/modules/m1/#", "devices/d1/modules/m1/messages/devicebound/#",
        "devices/d1/modules/m1/inputs/in1/#", "#", "$iothub/twin/res/#",
    ])
    func `a module may subscribe to what SDKs subscribe to for it`(_ filter: String) {
        #expect(TopicScope(Self.module).accepts(filter: filter))
    }

    @Test(arguments: ["devices/d1/messages/devicebound/#", "devices/d1/modules/m2/#", "devices/d1/modules/m1"])
    func `a module may not subscribe to what is its device's or another module's`(_ filter: String) {
        #expect(!TopicScope(Self.module).accepts(filter: filter))
    }
}
