// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import AMQP
import HubClient
import NIOCore
import NIOHTTP1
import Synchronization
import Testing

@Suite struct EventReaderTests {
    @Test func `a reader signs in as Event Hubs clients do and reads every partition`() async throws {
        let peer = try await EventHubPeer()
        let seen = Collected()
        let reader = try await EventReader.open(peer.plan) { seen.add($0) }
        #expect(reader.partitions == ["0", "1"])
        try await eventually("six events") { seen.events.count == 6 }
        try await reader.close()
        let numbers = seen.events.filter { $0.partition == "1" }.map(\.sequenceNumber)
        #expect(numbers == [0, 1, 2])
        #expect(seen.events.allSatisfy { $0.deviceID == "dev1" && String(buffer: $0.body).hasPrefix("event ") })
        let received = peer.received
        #expect(received.audiences == ["sb://hub.example.com/hub"])
        #expect(received.tokens.first?.contains("sr=sb%3A%2F%2Fhub.example.com%2Fhub&") == true)
        #expect(received.tokens.first?.hasSuffix("&skn=service") == true)
        #expect(received.sources.contains("amqps://hub.example.com/hub/ConsumerGroups/$Default/Partitions/1"))
        #expect(Set(received.selectors) == ["amqp.annotation.x-opt-offset > '@latest'"])
    }

    @Test func `credit is granted again as events come`() async throws {
        let peer = try await EventHubPeer(.init(partitions: ["0"], events: 1000))
        let seen = Collected()
        var plan = peer.plan
        plan.credit = 10
        let reader = try await EventReader.open(plan) { seen.add($0) }
        try await eventually("a thousand events") { seen.events.count == 1000 }
        #expect(seen.events.map(\.sequenceNumber) == Array(0..<1000))
        try await reader.close()
    }

    @Test func `named partitions are read without asking for the list`() async throws {
        let peer = try await EventHubPeer()
        var plan = peer.plan
        plan.partitions = ["7"]
        plan.consumerGroup = "other"
        plan.start = .sequenceNumber(12)
        let reader = try await EventReader.open(plan) { _ in }
        #expect(reader.partitions == ["7"])
        #expect(!peer.received.sources.contains("hub/$management"))
        #expect(peer.received.sources.contains("amqps://hub.example.com/hub/ConsumerGroups/other/Partitions/7"))
        #expect(peer.received.selectors == ["amqp.annotation.x-opt-sequence-number >= '12'"])
        try await reader.close()
    }

    @Test func `a refused token is told in the hub's words`() async throws {
        let peer = try await EventHubPeer(.init(tokenStatus: 401, description: "The token is expired."))
        await #expect(throws: HubClientError.amqpRefused(condition: "status 401", description: "The token is expired."))
        {
            try await EventReader.open(peer.plan) { _ in }
        }
    }

    @Test func `a refused receiver is told with the condition of its detach`() async throws {
        let peer = try await EventHubPeer(.init(refused: "1"))
        let expected = HubClientError.amqpRefused(
            condition: "amqp:resource-limit-exceeded",
            description: "Exceeded the maximum number of receivers."
        )
        await #expect(throws: expected) { try await EventReader.open(peer.plan) { _ in } }
    }

    @Test func `a peer that does not speak AMQP is told as such`() async throws {
        let peer = try await CannedHTTPServer(status: .ok, body: "")
        var plan = try await EventHubPeer().plan
        plan.address.amqpPort = peer.port
        await #expect(throws: HubClientError.self) { try await EventReader.open(plan) { _ in } }
    }
}

/// Events decoded, gathered across threads.
private final class Collected: Sendable {
    private let state = Mutex<[ReceivedEvent]>([])

    var events: [ReceivedEvent] { self.state.withLock { $0 } }

    func add(_ event: ArrivedEvent) {
        guard let event = try? ReceivedEvent(event) else { return }
        self.state.withLock { $0.append(event) }
    }
}
