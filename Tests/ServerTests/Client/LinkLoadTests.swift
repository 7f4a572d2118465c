// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import AMQP
import HubClient
import NIOCore
import Testing

@Suite struct LinkLoadTests {
    @Test func `each device signs in and sends on a link of its own, within its window`() async throws {
        let peer = try await EventHubPeer()
        var plan = LinkLoadPlan(address: peer.plan.address, devices: (0..<5).map { "dev\($0)" }, key: "AAAA")
        plan.connections = 2
        plan.threads = 2
        plan.window = 3
        plan.bodyBytes = 100
        let figures = try await LinkLoad.with(plan) { load in
            try await load.start()
            try await load.measure()
            try await eventually("messages") { try await load.figures().acknowledged >= 200 }
            try await load.pause()
            return try await load.figures()
        }
        #expect(figures.ready == 5 && figures.errors == 0 && figures.lost == 0 && figures.latency.count > 0)
        let received = peer.received
        #expect(Set(received.audiences) == Set((0..<5).map { "hub.example.com/devices/dev\($0)" }))
        #expect(Set(received.telemetry.keys) == Set((0..<5).map { "/devices/dev\($0)/messages/events" }))
        #expect(received.telemetry.values.allSatisfy { $0 > 0 })
    }

    @Test func `no more messages of a link wait for their settlement than the window allows`() async throws {
        let peer = try await EventHubPeer(.init(outcome: nil))
        var plan = LinkLoadPlan(address: peer.plan.address, devices: ["dev0", "dev1"], key: "AAAA")
        plan.window = 3
        try await LinkLoad.with(plan) { load in
            try await load.start()
            try await eventually("full windows") { peer.received.telemetry.values.reduce(0, +) == 6 }
            #expect(try await load.figures().sent == 6)
        }
        #expect(peer.received.telemetry.values.allSatisfy { $0 == 3 })
    }

    @Test func `messages that are refused are counted with the reason`() async throws {
        let error = AMQPError(.resourceLimitExceeded, "Too much.")
        let peer = try await EventHubPeer(.init(outcome: .rejected(error)))
        let plan = LinkLoadPlan(address: peer.plan.address, devices: ["dev"], key: "AAAA")
        let figures = try await LinkLoad.with(plan) { load in
            try await load.start()
            try await eventually("refusals") { try await load.figures().errors >= 20 }
            return try await load.figures()
        }
        #expect(figures.acknowledged == 0)
        let reason = HubClientError.amqpRefused(condition: "amqp:resource-limit-exceeded", description: "Too much.")
        #expect(figures.firstFailure == reason)
    }

    @Test func `a device that is refused ends the load before it begins`() async throws {
        let peer = try await EventHubPeer(.init(tokenStatus: 401, description: "No."))
        let plan = LinkLoadPlan(address: peer.plan.address, devices: ["dev"], key: "AAAA")
        await #expect(throws: HubClientError.amqpRefused(condition: "status 401", description: "No.")) {
            try await LinkLoad.with(plan) { _ in }
        }
    }
}
