// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import FoundationEssentials
import MQTT
import NIOCore
import Testing

@testable import HubClient

@Suite struct LoadTests {
    @Test func `quantiles are at most a hundredth off, whatever the scale`() {
        for scale: UInt64 in [1, 1000, 1_000_000, 1_000_000_000] {
            var histogram = LatencyHistogram()
            for value in 1...10_000 as ClosedRange<UInt64> {
                histogram.add(nanoseconds: value * scale)
            }
            for quantile in [0.5, 0.99, 0.999] {
                let exact = quantile * 10_000 * Double(scale)
                let found = Double(histogram.nanoseconds(at: quantile))
                #expect(found >= exact && found <= exact * 1.01, "\(quantile) of \(scale): \(found)")
            }
            #expect(histogram.nanoseconds(at: 1) == 10_000 * scale && histogram.maxNanoseconds == 10_000 * scale)
        }
    }

    @Test func `an empty histogram and an endless duration are no trouble`() {
        var histogram = LatencyHistogram()
        #expect(histogram.nanoseconds(at: 0.99) == 0)
        histogram.add(nanoseconds: .max)
        histogram.add(nanoseconds: 0)
        #expect(histogram.count == 2 && histogram.nanoseconds(at: 0.5) == 0)
    }

    @Test func `histograms add up`() {
        var one = LatencyHistogram()
        var other = LatencyHistogram()
        one.add(nanoseconds: 5)
        other.add(nanoseconds: 900)
        one.add(other)
        #expect(one.count == 2 && one.maxNanoseconds == 900 && one.nanoseconds(at: 0.5) == 5)
    }

    @Test func `a run of packets has its ids, its time and JSON bodies of the wanted size`() throws {
        var template = try LoadTemplate(
            topic: "devices/d/messages/events/",
            isAcknowledged: true,
            bodyBytes: 100,
            capacity: 4
        )
        var bytes = template.run(count: 3, firstID: 65_534, nanoseconds: 0x0123_4567_89AB_CDEF)
        var ids: [UInt16] = []
        while case .publish(let publish)? = try Packet.decode(from: &bytes, limits: MQTTLimits()) {
            ids.append(publish.packetID)
            #expect(publish.qos == .atLeastOnce && String(buffer: publish.topic) == "devices/d/messages/events/")
            #expect(publish.payload.readableBytes == 100)
            #expect(LoadBody.sentNanoseconds(in: publish.payload.readableBytesView) == 0x0123_4567_89AB_CDEF)
            let json = try JSONDecoder().decode([String: String].self, from: Data(publish.payload.readableBytesView))
            #expect(json["sentNanoseconds"] == "0123456789abcdef")
        }
        #expect(ids == [65_534, 65_535, 1] && bytes.readableBytes == 0)
    }

    @Test func `small bodies carry no time, and others' bodies are not mistaken for a load's`() throws {
        var template = try LoadTemplate(topic: "t", isAcknowledged: false, bodyBytes: 5, capacity: 1)
        var bytes = template.run(count: 1, firstID: 1, nanoseconds: 7)
        guard case .publish(let publish)? = try Packet.decode(from: &bytes, limits: MQTTLimits()) else {
            Issue.record("no PUBLISH")
            return
        }
        #expect(publish.payload.readableBytes == 5 && publish.qos == .atMostOnce)
        #expect(LoadBody.sentNanoseconds(in: publish.payload.readableBytesView) == nil)
        let other = ByteBuffer(string: #"{"sentNanoseconds":"not sixteen digits but long enough","filler":""}"#)
        #expect(LoadBody.sentNanoseconds(in: other.readableBytesView) == nil)
    }

    @Test func `process figures are read past a name with blanks and parentheses`() {
        let stat = "12 (a ) b) S 1 2 3 4 5 6 7 8 9 10 150 50 0 0 20 0 8 0"
        let usage = ProcessUsage.parse(stat: stat, status: "Name:\ta\nVmRSS:\t  2048 kB\n", ticksPerSecond: 100)
        #expect(usage == ProcessUsage(cpuSeconds: 2, residentKiB: 2048))
        #expect(ProcessUsage.parse(stat: "12 (a", status: "", ticksPerSecond: 100) == nil)
        #expect((ProcessUsage.now(processID: 0)?.residentKiB ?? 0) > 0)
    }

    @Test func `every device signs in, publishes within its window, and is acknowledged`() async throws {
        let peer = try await MQTTPeer()
        var plan = LoadPlan(address: peer.address, key: "AAAA")
        plan.devices = 10
        plan.threads = 2
        plan.window = 4
        plan.connecting = 3
        let figures = try await LoadGenerator.with(plan) { generator in
            try await generator.connectAll()
            try await generator.measure()
            try await generator.start()
            try await eventually("messages") { try await generator.figures().acknowledged >= 1000 }
            try await generator.pause()
            return try await generator.figures()
        }
        #expect(figures.connected == 10 && figures.failed == 0 && figures.latency.count > 0)
        let received = peer.received
        #expect(Set(received.connects.map(\.clientID)) == Set((0..<10).map { "load-\($0)" }))
        #expect(Set(received.publishes.map { String(buffer: $0.topic) }).count == 10)
    }

    @Test func `a rate is kept`() async throws {
        let peer = try await MQTTPeer()
        var plan = LoadPlan(address: peer.address, key: "AAAA")
        plan.devices = 5
        plan.rate = 1000
        let start = ContinuousClock.now
        let sent = try await LoadGenerator.with(plan) { generator in
            try await generator.connectAll()
            try await generator.start()
            try await eventually("messages") { try await generator.figures().sent >= 200 }
            try await generator.pause()
            return try await generator.figures().sent
        }
        let seconds = start.duration(to: .now) / .seconds(1)
        #expect(Double(sent) / seconds <= 1100)
    }

    @Test func `refused devices are counted, not tried for ever`() async throws {
        let peer = try await MQTTPeer(.init(connack: .notAuthorized))
        var plan = LoadPlan(address: peer.address, key: "AAAA")
        plan.devices = 100
        plan.connecting = 8
        let figures = try await LoadGenerator.with(plan) { generator in
            try await generator.connectAll()
            return try await generator.figures()
        }
        #expect(figures.connected == 0 && figures.failed == 100)
        guard case .signInRefused(_, code: 5)? = figures.firstFailure else {
            Issue.record("\(String(describing: figures.firstFailure))")
            return
        }
    }
}
