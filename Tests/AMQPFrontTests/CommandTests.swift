// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import AMQP
import Hub
import HubModel
import HubTesting
import NIOCore
import NIOPosix
import Testing

@testable import AMQPFront

@MainActor
@Suite struct CommandTests {
    private let inbox = "devices/d1/messages/deviceBound"

    private func send(_ hub: DeviceHub, _ bodies: String..., device: String = "d1") async throws {
        let loop = MultiThreadedEventLoopGroup.singleton.any()
        for body in bodies {
            let message = CommandMessage(
                messageID: String(body.prefix(20)),
                to: "/devices/\(device)/messages/deviceBound",
                properties: [MessageProperty(name: "n", value: "1")],
                body: ByteBuffer(string: body)
            )
            try await hub.hub.commands.send(message, to: device, on: loop).get()
        }
    }

    private func bodies(_ client: DeviceClient, _ link: Link) throws -> [String] {
        try client.messages(link).map(\.bodyText)
    }

    /// Says what becomes of a delivery.
    private func settle(
        _ client: DeviceClient,
        _ id: UInt32,
        on link: Link,
        _ state: DeliveryState,
        settled: Bool = true
    ) async throws {
        var frame = ByteBuffer()
        let disposition = Disposition(role: .receiver, first: id, last: id, settled: settled, state: state)
        Frame.write(to: &frame, channel: link.session.channel) { disposition.encode(into: &$0) }
        try await client.sendRaw(frame)
    }

    /// What the hub answered to dispositions that were not settled.
    private func confirmations(_ client: DeviceClient) -> [DeliveryState?] {
        client.frames.compactMap { frame in
            guard case .disposition(let disposition) = frame, disposition.role == .sender else { return nil }
            #expect(disposition.settled == true)
            return .some(disposition.state)
        }
    }

    @Test func `amqp 053 amqp 054 a command is the bytes that devices know`() throws {
        let bytes: [UInt8] = [
            0x0F, 0x1E, 0x2D, 0x3C, 0x4B, 0x5A, 0x69, 0x78, 0x87, 0x96, 0xA5, 0xB4, 0xC3, 0xD2, 0xE1, 0xF0,
        ]
        let token = try #require(LockToken(bytes: bytes))
        let message = CommandMessage(
            messageID: "c2d-42",
            to: "/devices/dev1/messages/deviceBound",
            expiresMilliseconds: 1_700_003_600_000,
            acknowledgement: .full,
            body: ByteBuffer(string: "hello")
        )
        let command = Command(
            device: "dev1",
            sequenceNumber: 7,
            enqueuedMilliseconds: 1_700_000_000_000,
            expiresMilliseconds: 1_700_003_600_000,
            deliveryCount: 0,
            message: message
        )
        let encoded = CommandNode.message(LockedCommand(token: token, command: command), hubName: "myhub").encoded
        #expect(encoded == MessageVector.command)
        #expect(
            Array(token.deliveryTag.readableBytesView)
                == [0x3C, 0x2D, 0x1E, 0x0F, 0x5A, 0x4B, 0x78, 0x69, 0x87, 0x96, 0xA5, 0xB4, 0xC3, 0xD2, 0xE1, 0xF0]
        )
    }

    @Test func `amqp 053 the delivery-tag is the lock token of the annotation`() async throws {
        let hub = try await DeviceHub()
        try await send(hub, "a")
        let client = try await DeviceClient.signedIn(hub)
        let link = try await client.receiver(inbox)
        try await client.wait { client.deliveries(link).count == 1 }
        let delivery = client.deliveries(link)[0]
        #expect(!delivery.isSettled)
        let token = try #require(LockToken(deliveryTag: delivery.tag))
        #expect(try client.messages(link)[0].messageAnnotations?["x-opt-lock-token"] == .string(token.text))
    }

    @Test func `amqp 055 accepted completes, rejected removes, released and modified bring it again, counted`()
        async throws
    {
        let hub = try await DeviceHub()
        let client = try await DeviceClient.signedIn(hub)
        let link = try await client.receiver(inbox)
        try await send(hub, "a", "b", "c", "d")
        try await client.wait { client.deliveries(link).count == 4 }
        let ids = client.deliveries(link).map(\.id)
        try await settle(client, ids[0], on: link, .accepted)
        try await settle(client, ids[1], on: link, .rejected(AMQPError(.internalError, "Rejected by application")))
        try await settle(client, ids[2], on: link, .released)
        let changed = DeliveryState.modified(deliveryFailed: true, undeliverableHere: nil, annotations: nil)
        try await settle(client, ids[3], on: link, changed)
        try await client.wait { client.deliveries(link).count == 6 }
        #expect(try bodies(client, link).suffix(2).sorted() == ["c", "d"])
        let counts = try client.messages(link).map { $0.messageAnnotations?["iothub-deliverycount"] }
        #expect(counts == [0, 0, 0, 0, 1, 1].map { .ubyte($0) })
        #expect(try await hub.hub.commands.pendingCount(of: .d1) == 2)
    }

    @Test func `amqp 056 what is not settled is answered, for every outcome with accepted`() async throws {
        let hub = try await DeviceHub()
        let client = try await DeviceClient.signedIn(hub)
        let link = try await client.receiver(inbox, second: true)
        try await send(hub, "a", "b", "c")
        try await client.wait { client.deliveries(link).count == 3 }
        let ids = client.deliveries(link).map(\.id)
        for (id, state) in zip(ids, [DeliveryState.accepted, .rejected(nil), .released]) {
            try await settle(client, id, on: link, state, settled: false)
        }
        try await client.wait { confirmations(client).count == 3 }
        #expect(confirmations(client) == [.accepted, .accepted, .accepted])
    }

    @Test func `amqp 057 settling after the lock was lost is answered with not-found`() async throws {
        let hub = try await DeviceHub()
        let client = try await DeviceClient.signedIn(hub)
        let link = try await client.receiver(inbox, second: true)
        try await send(hub, "a")
        try await client.wait { client.deliveries(link).count == 1 }
        _ = try await hub.hub.commands.purge("d1")
        try await settle(client, client.deliveries(link)[0].id, on: link, .accepted, settled: false)
        try await client.wait { confirmations(client).count == 1 }
        guard case .rejected(let error?)?? = confirmations(client).first else {
            Issue.record("not rejected")
            return
        }
        #expect(error.condition == .notFound)
    }

    @Test func `amqp 058 a device that detaches without settling gets the commands again, not counted`() async throws {
        let hub = try await DeviceHub()
        let client = try await DeviceClient.signedIn(hub)
        _ = try await client.sender("devices/d1/messages/events")
        let link = try await client.receiver(inbox)
        try await send(hub, "a", "b")
        try await client.wait { client.deliveries(link).count == 2 }
        client.engine.detach(link)
        try await client.settle()
        let again = try await client.receiver(inbox)
        try await client.wait { client.deliveries(again).count == 2 }
        #expect(try bodies(client, again) == ["a", "b"])
        try await client.disconnect()
        let other = try await DeviceClient.signedIn(hub)
        let third = try await other.receiver(inbox)
        try await other.wait { other.deliveries(third).count == 2 }
        #expect(try other.messages(third).allSatisfy { $0.messageAnnotations?["iothub-deliverycount"] == .ubyte(0) })
    }

    @Test func `amqp 059 amqp 034 commands wait while there is no credit`() async throws {
        let hub = try await DeviceHub()
        let client = try await DeviceClient.signedIn(hub)
        let link = try await client.receiver(inbox, credit: 0)
        try await send(hub, "a", "b", "c")
        try await client.settle()
        #expect(client.deliveries(link).isEmpty)
        client.engine.grantCredit(2, to: link)
        try await client.wait { client.deliveries(link).count == 2 }
        try await client.settle()
        #expect(try bodies(client, link) == ["a", "b"])
        for _ in 0..<47 { try await send(hub, "more") }
        await #expect(throws: HubError.self) { try await send(hub, "the 51st") }
    }

    @Test func `commands that can't be read are asked for again, though the device says nothing`() async throws {
        let hub = try await DeviceHub()
        let client = try await DeviceClient.signedIn(hub)
        let link = try await client.receiver(inbox)
        hub.commands.isBroken = true
        try await send(hub, "a")
        try await client.settle()
        #expect(client.deliveries(link).isEmpty)
        hub.commands.isBroken = false
        try await client.advance(seconds: 1)
        try await client.wait { client.deliveries(link).count == 1 }
    }

    @Test func `amqp 033 drain without commands uses the credit up`() async throws {
        let hub = try await DeviceHub()
        let client = try await DeviceClient.signedIn(hub)
        let link = try await client.receiver(inbox, credit: 0)
        client.engine.grantCredit(5, to: link, drain: true)
        try await client.wait {
            client.frames.contains { frame in
                if case .flow(let flow) = frame { flow.drain == true && flow.linkCredit == 0 } else { false }
            }
        }
    }

    @Test func `amqp 013 a large command comes in frames that the device can take`() async throws {
        let hub = try await DeviceHub()
        var limits = AMQPLimits()
        limits.frameBytesMax = 4096
        let client = try await DeviceClient(hub, limits: limits)
        try await client.signIn(.d1)
        let link = try await client.receiver(inbox)
        let body = String(repeating: "0123456789", count: 2_000)
        try await send(hub, body)
        try await client.wait { client.deliveries(link).count == 1 }
        #expect(try bodies(client, link) == [body])
        let transfers = client.frames.filter {
            if case .transfer(let transfer) = $0 { transfer.more == true } else { false }
        }
        #expect(transfers.count >= 4)
    }

    @Test func `a newer receiver takes the place of the older one`() async throws {
        let hub = try await DeviceHub()
        let client = try await DeviceClient.signedIn(hub)
        let first = try await client.receiver(inbox)
        let second = try await client.receiver(inbox)
        #expect(try await client.endOf(first) == .linkStolen)
        try await send(hub, "a")
        try await client.wait { client.deliveries(second).count == 1 }
    }
}
