// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import FoundationEssentials
import HubModel
import MQTT
import NIOCore
import Testing

@testable import HubClient
@testable import roost

@Suite struct SimulationTests {
    @Test(arguments: [
        ("", ""),
        ("plain {\"a\":{}}", "plain {\"a\":{}}"),
        ("{{device}}-{{ counter }}", "d1-7"),
        ("{\"t\":\"{{time}}\",\"m\":{{milliseconds}}}", "{\"t\":\"2024-03-01T10:00:00.1230000Z\",\"m\":1709287200123}"),
        ("{{random 3 3}} {{random -1.5 -1.50}} {{random -0.05 -0.05}} {{random 1.5 1.50}}", "3 -1.50 -0.05 1.50"),
        ("{{{device}}}", "{d1}"),
        ("{\"a\":{\"b\":{{counter}}}}", "{\"a\":{\"b\":7}}"),
    ])
    func `placeholders are filled in and all else stays`(_ template: String, _ expected: String) throws {
        var random = SystemRandomNumberGenerator()
        let values = MessageTemplate.Values(device: "d1", counter: 7, milliseconds: 1_709_287_200_123)
        #expect(String(buffer: try MessageTemplate(template).filled(values, using: &random)) == expected)
    }

    @Test(arguments: [
        ("a {{device", MessageTemplateError.unclosed("{{device")),
        ("{{}}", .unknown("")),
        ("{{devise}}", .unknown("devise")),
        ("{{random 1}}", .unknown("random 1")),
        ("{{random 2 1}}", .badRange("random 2 1")),
        ("{{random a b}}", .badRange("random a b")),
        ("{{random 1. 2}}", .badRange("random 1. 2")),
    ])
    func `a template that says nothing is refused by name`(_ text: String, _ expected: MessageTemplateError) {
        #expect(throws: expected) { try MessageTemplate(text) }
    }

    @Test func `random numbers keep their bounds and decimals`() throws {
        let template = try MessageTemplate("{{random -0.5 0.25}}")
        let values = MessageTemplate.Values(device: "d", counter: 1, milliseconds: 0)
        var random = SystemRandomNumberGenerator()
        for _ in 0..<1000 {
            let text = String(buffer: template.filled(values, using: &random))
            let number = try #require(Double(text))
            #expect((-0.5...0.25).contains(number) && text.split(separator: ".").last?.count == 2)
        }
    }

    @Test(arguments: [
        ("$iothub/methods/POST/re boot/?$rid=1a", DeviceTopic.method(name: "re boot", requestID: "1a")),
        ("$iothub/methods/POST/x/", .unknown),
        ("$iothub/twin/res/200/?$rid=5", .twinAnswer(status: 200, requestID: "5")),
        ("$iothub/twin/res/204/?$rid=5&$version=9", .twinAnswer(status: 204, requestID: "5")),
        ("$iothub/twin/res/x/?$rid=5", .unknown),
        ("$iothub/twin/PATCH/properties/desired/?$version=3", .desiredPatch),
        ("devices/d1/messages/devicebound/%24.to=x", .command),
        ("devices/d2/messages/devicebound/%24.to=x", .unknown),
    ])
    func `a topic tells what the hub wants of a device`(_ topic: String, _ expected: DeviceTopic) {
        #expect(DeviceTopic(topic, deviceID: "d1") == expected)
    }

    @Test(arguments: [
        (#"{"a":1.10,"$version":4,"b":{"$x":null}}"#, nil, #"{"a":1.10,"b":{"$x":null}}"#),
        (#"{"desired":{"a":null,"$version":4},"reported":{"z":1}}"#, "desired", #"{"a":null}"#),
        (#"{"$version":4}"#, nil, nil),
        (#"{"reported":{}}"#, "desired", nil),
        ("no json", nil, nil),
    ])
    func `what is desired is reported as it was written`(_ document: String, _ member: String?, _ expected: String?) {
        let echo = SimulatedDevice.echo(of: ByteBuffer(string: document), member: member)
        #expect(echo.map { String(buffer: $0) } == expected)
    }

    @Test func `a device that fails waits longer each time, up to a bound`() {
        var plan = FleetPlan(address: HubAddress(hostName: "h"), devices: [])
        plan.backOff = .seconds(1)...(.seconds(60))
        let delays = (1...10).map { plan.delay(afterFailures: $0, spread: 1) }
        #expect(delays == [1, 2, 4, 8, 16, 32, 60, 60, 60, 60].map { .seconds($0) })
        #expect(plan.delay(afterFailures: 3, spread: 0) == .seconds(2))
        #expect(plan.delay(afterFailures: Int.max, spread: 1) == .seconds(60))
    }

    @Test func `a device subscribes, reads its twin, and does what it is asked`() async throws {
        var behaviour = MQTTPeer.Behaviour()
        behaviour.sends = [
            Self.publish("$iothub/methods/POST/blink/?$rid=a", "[1]"),
            Self.publish("$iothub/twin/PATCH/properties/desired/?$version=3", #"{"c":2,"$version":3}"#),
            Self.publish("devices/dev/messages/devicebound/%24.to=x", "go", id: 9),
        ]
        let peer = try await MQTTPeer(behaviour)
        var plan = SimulationPlan(fleet: FleetPlan(address: peer.address, devices: [.init(id: "dev", key: "AAAA")]))
        plan.template = try MessageTemplate("{{device}} {{counter}}")
        plan.interval = .milliseconds(5)
        let figures = try await plan.run { fleet in
            try await fleet.start()
            try await fleet.connectAll()
            try await eventually("telemetry") { try await fleet.figures().acknowledged >= 3 }
            try await eventually("the command's PUBACK") { peer.received.acknowledgements == [9] }
            let figures = try await fleet.figures()
            try await fleet.stop()
            return figures
        }
        #expect(figures.methods == 1 && figures.desired == 1 && figures.commands == 1 && figures.errors == 0)
        let received = peer.received
        #expect(received.filters.count == 4 && received.filters.contains("devices/dev/messages/devicebound/#"))
        let texts = received.publishes.map { "\(String(buffer: $0.topic)) \(String(buffer: $0.payload))" }
        #expect(texts.contains("$iothub/methods/res/200/?$rid=a [1]"))
        #expect(texts.contains("$iothub/twin/GET/?$rid=1 ") || texts.contains("$iothub/twin/GET/?$rid=2 "))
        #expect(
            texts.contains {
                $0.hasPrefix("$iothub/twin/PATCH/properties/reported/?$rid=") && $0.hasSuffix(#" {"c":2}"#)
            }
        )
        let telemetry = texts.filter { $0.hasPrefix("devices/dev/messages/events/ ") }
        #expect(telemetry.prefix(2).map { $0 } == (1...2).map { "devices/dev/messages/events/ dev \($0)" })
        // It said goodbye.
        try await eventually("the DISCONNECT") { peer.received.disconnects == 1 }
    }

    @Test func `a device that is thrown out comes back, and one that is refused is tried again`() async throws {
        for behaviour in [MQTTPeer.Behaviour(closesOnPublish: true), .init(connack: .serverUnavailable)] {
            let peer = try await MQTTPeer(behaviour)
            var fleet = FleetPlan(address: peer.address, devices: [.init(id: "dev", key: "AAAA")])
            fleet.reconnects = true
            fleet.backOff = .milliseconds(1)...(.milliseconds(4))
            let figures = try await SimulationPlan(fleet: fleet).run { fleet in
                try await fleet.start()
                try await fleet.connectAll()
                try await eventually("five tries") { peer.received.connects.count >= 5 }
                return try await fleet.figures()
            }
            #expect(figures.lost + figures.failed >= 3 && figures.firstFailure != nil)
        }
    }

    @Test func `a refused subscription is told`() async throws {
        let peer = try await MQTTPeer(.init(grants: false))
        let plan = SimulationPlan(fleet: FleetPlan(address: peer.address, devices: [.init(id: "dev", key: "AAAA")]))
        let failure = try await plan.run { fleet in
            try await fleet.connectAll()
            try await eventually("an error") { try await fleet.figures().errors == 1 }
            return try await fleet.figures().firstFailure
        }
        #expect(failure == .subscriptionRefused(deviceID: "dev"))
    }

    @Test(arguments: [
        ["simulate", "d", "--devices", "2"],
        ["simulate", "--devices", "0"],
        ["simulate", "--interval", "0"],
        ["simulate", "--template", "x", "--quiet"],
        ["simulate", "--qos", "2"],
        ["c2d", "send"],
        ["c2d", "send", "d", "x", "--ack", "maybe"],
        ["c2d", "send", "d", "x", "--count", "2", "--message-id", "m"],
        ["c2d", "send", "d", "x", "--expiry", "0"],
        ["c2d", "feedback", "--count", "0"],
    ])
    func `options that contradict themselves are refused`(_ arguments: [String]) {
        #expect(throws: (any Error).self) { try Roost.parseAsRoot(arguments) }
    }

    private static func publish(_ topic: String, _ payload: String, id: UInt16 = 0) -> Publish {
        Publish(
            topic: ByteBuffer(string: topic),
            payload: ByteBuffer(string: payload),
            qos: id == 0 ? .atMostOnce : .atLeastOnce,
            packetID: id
        )
    }
}
