// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import AMQP
import HubClient
import NIOCore
import Testing

@testable import roost

/// The client against the hub itself: each walks the whole way of a user, over TLS unless it says otherwise.
@Suite struct LiveHubTests {
    @Test(arguments: [false, true])
    func `what a device sends is read back as it was`(_ plain: Bool) async throws {
        try await LiveHub.with { hub in
            let target = try hub.target(plain: plain)
            let key = try await hub.running.makeDevice("dev1")
            let signIn = DeviceSignIn(hostName: target.address.hostName, deviceID: "dev1", key: key)
            let live = GatheredEvents()
            let tail = try await EventReader.open(target.readerPlan()) { live.add($0) }
            #expect(tail.partitions == ["0", "1", "2", "3"])
            let device = try await DeviceClient.connect(signIn, to: target.address)
            for number in 0..<100 {
                var message = DeviceMessage(
                    body: ByteBuffer(string: "{\"number\":\(number)}"),
                    properties: [.init(name: "k é", value: "v&=\(number)")]
                )
                message.contentType = "application/json"
                message.contentEncoding = "utf-8"
                try await device.send(message)
            }
            await device.close()
            try await eventually("the tail's events") { live.events.count == 100 }
            try await tail.close()
            let again = GatheredEvents()
            var plan = try target.readerPlan()
            plan.start = .earliest
            plan.consumerGroup = "other"
            let replay = try await EventReader.open(plan) { again.add($0) }
            try await eventually("the replay's events") { again.events.count == 100 }
            try await replay.close()
            for events in [live.events, again.events] {
                #expect(events.map { String(buffer: $0.body) } == (0..<100).map { "{\"number\":\($0)}" })
                #expect(events.map(\.sequenceNumber) == Array(0..<100))
                #expect(events.allSatisfy { $0.deviceID == "dev1" && $0.properties.contentType == "application/json" })
                #expect(events[7].applicationProperties["k é"]?.text == "v&=7")
            }
        }
    }

    @Test func `a device with another key is refused, and told what to look at`() async throws {
        try await LiveHub.with { hub in
            let target = try hub.target()
            _ = try await hub.running.makeDevice("dev1")
            let signIn = DeviceSignIn(hostName: target.address.hostName, deviceID: "dev1", key: "AAAA")
            await #expect(throws: HubClientError.signInRefused(deviceID: "dev1", code: 5)) {
                try await DeviceClient.connect(signIn, to: target.address)
            }
        }
    }

    @Test func `a certificate of another authority is not trusted`() async throws {
        try await LiveHub.with { hub in
            var target = try hub.target()
            target.address.trust = .system
            let plan = try target.readerPlan()
            let amqp = await #expect(throws: HubClientError.self) { try await EventReader.open(plan) { _ in } }
            guard case .tlsFailed? = amqp else {
                Issue.record("\(String(describing: amqp))")
                return
            }
        }
    }

    @Test func `a policy without the right to read events is refused in the hub's words`() async throws {
        try await LiveHub.with { hub in
            let target = try hub.target()
            let file = try #require(target.file)
            var plan = try target.readerPlan()
            let policy = try #require(file.policies.first { $0.name == "registryRead" })
            plan.policy = policy.name
            plan.key = policy.primaryKey
            let error = await #expect(throws: HubClientError.self) { try await EventReader.open(plan) { _ in } }
            guard case .amqpRefused? = error else {
                Issue.record("\(String(describing: error))")
                return
            }
        }
    }
}
