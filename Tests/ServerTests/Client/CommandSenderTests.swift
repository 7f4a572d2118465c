// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import AMQP
import ArgumentParser
import FoundationEssentials
import HubClient
import HubModel
import NIOCore
import Synchronization
import Testing

@testable import roost

@Suite struct CommandSenderTests {
    @Test func `a command has the form in which services send it, and its acceptance is awaited`() async throws {
        let peer = try await EventHubPeer()
        let sender = try await Self.open(peer)
        var command = OutgoingCommand(device: "dev1", body: ByteBuffer(string: "go"))
        command.messageID = "m1"
        command.expiresMilliseconds = 1_700_000_000_000
        command.acknowledgement = .full
        command.properties = [.init(name: "a", value: "b")]
        // More than the credit of ten: it is granted again.
        for _ in 0..<25 {
            try await sender.send(command)
        }
        await sender.close()
        let received = peer.received
        #expect(received.commands.count == 25 && received.audiences == ["hub.example.com"])
        #expect(received.tokens.first?.hasSuffix("&skn=service") == true)
        let message = try #require(received.commands.first)
        #expect(message.properties?.to == "/devices/dev1/messages/devicebound")
        #expect(message.properties?.messageID == .string("m1") && message.body == .data(ByteBuffer(string: "go")))
        #expect(message.properties?.absoluteExpiryTime == 1_700_000_000_000)
        #expect(message.applicationProperties == [.string("iothub-ack"): .string("full"), .string("a"): .string("b")])
    }

    @Test func `a command that is rejected fails in the hub's words`() async throws {
        let error = AMQPError(.resourceLimitExceeded, "The queue is full.")
        let peer = try await EventHubPeer(.init(outcome: .rejected(error)))
        let sender = try await Self.open(peer)
        let failure = await #expect(throws: HubClientError.self) {
            try await sender.send(OutgoingCommand(device: "d", body: ByteBuffer()))
        }
        let expected = HubClientError.amqpRefused(
            condition: "amqp:resource-limit-exceeded",
            description: "The queue is full."
        )
        #expect(failure == expected)
        await sender.close()
        let closed = await #expect(throws: HubClientError.self) {
            try await sender.send(OutgoingCommand(device: "d", body: ByteBuffer()))
        }
        #expect(closed == .closed(during: "the sending of commands"))
    }

    @Test func `a token that is refused ends the opening`() async throws {
        let peer = try await EventHubPeer(.init(tokenStatus: 401, description: "No."))
        await #expect(throws: HubClientError.amqpRefused(condition: "status 401", description: "No.")) {
            try await Self.open(peer)
        }
    }

    @Test func `feedback is handed over and accepted, and what is none is rejected`() async throws {
        let json = #"""
            [{"originalMessageId":"m1","description":"Success","deviceGenerationId":"g","deviceId":"dev1",
            "enqueuedTimeUtc":"2024-03-01T10:00:00.0000000Z","statusCode":"Success"}]
            """#
        for (feedback, outcome) in [(json, DeliveryState.accepted), ("{", .rejected(nil))] {
            let peer = try await EventHubPeer(.init(feedback: feedback))
            let lines = Mutex<[String]>([])
            let plan = peer.plan
            let receiver = try await FeedbackReceiver.open(address: plan.address, policy: "service", key: plan.key) {
                records in
                lines.withLock { $0 += records.map(CommandFeedbackCommand.line) }
            }
            try await eventually("the outcome") { peer.received.outcomes == [outcome] }
            await receiver.close()
            let expected = outcome == .accepted ? ["2024-03-01T10:00:00.0000000Z  dev1  m1  Success"] : []
            #expect(lines.withLock { $0 } == expected)
        }
    }

    @Test func `the options of a command become its parts`() throws {
        let parsed = try Roost.parseAsRoot([
            "c2d", "send", "d", "body", "--ack", "Full", "--expiry", "60", "-p", "a=b=c", "--content-type",
            "text/plain",
        ])
        let send = try #require(parsed as? CommandSendCommand)
        let command = send.command(body: ByteBuffer(string: "body"), now: Date(timeIntervalSince1970: 1000))
        #expect(command.acknowledgement == .full && command.expiresMilliseconds == 1_060_000)
        #expect(command.properties == [.init(name: "a", value: "b=c")] && command.contentType == "text/plain")
        // Without an id there would be no way to tell whose feedback comes.
        #expect(command.messageID?.count == 36)
    }

    private static func open(_ peer: EventHubPeer) async throws -> CommandSender {
        let plan = peer.plan
        return try await CommandSender.open(address: plan.address, policy: plan.policy, key: plan.key)
    }
}
