// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import AMQP
import Hub
import HubModel
import NIOCore
import Testing

@testable import AMQPFront

@MainActor
@Suite struct TwinTests {
    private let desired = "/notifications/twin/properties/desired"

    /// The two links of an identity.
    struct Pair {
        let sender: Link
        let receiver: Link
    }

    private func pair(_ client: DeviceClient, _ path: String = "devices/d1", id: String = "one") async throws -> Pair {
        let properties: AMQPMap = [.symbol("com.microsoft:channel-correlation-id"): .string("twin:\(id)")]
        let receiver = try await client.receiver("\(path)/twin", properties: properties)
        return Pair(sender: try await client.sender("\(path)/twin", properties: properties), receiver: receiver)
    }

    private func request(
        _ operation: String,
        resource: String? = nil,
        body: String = " ",
        version: AMQPValue? = nil,
        id: AMQPValue = .string("request")
    ) -> Message {
        var message = Message()
        var annotations: AMQPMap = [.symbol("operation"): .string(operation)]
        if let resource { annotations.append(.symbol("resource"), .string(resource)) }
        if let version { annotations.append(.symbol("version"), version) }
        message.messageAnnotations = annotations
        message.properties = MessageProperties()
        message.properties?.correlationID = id
        message.body = .data(ByteBuffer(string: body))
        return message
    }

    /// Sends a request and returns the answer.
    private func ask(_ message: Message, _ pair: Pair, _ client: DeviceClient) async throws -> Message {
        let before = client.deliveries(pair.receiver).count
        #expect(try await client.send(message, on: pair.sender) == .accepted)
        try await client.wait { client.deliveries(pair.receiver).count > before }
        #expect(client.deliveries(pair.receiver)[before].isSettled)
        return try client.messages(pair.receiver)[before]
    }

    private func writeDesired(_ hub: DeviceHub, _ text: String, of id: IdentityID = .d1) async throws {
        let body = ByteBuffer(string: #"{"properties":{"desired":\#(text)}}"#)
        _ = try await hub.hub.twins.write(id, body: body, replaces: false, ifMatch: nil)
    }

    @Test func `amqp 062 amqp 063 amqp 065 answers and notices are the bytes that devices know`() throws {
        let get = try Message(payload: MessageVector.twinGet)
        let id = try #require(get.properties?.correlationID)
        let twin = ByteBuffer(string: #"{"desired":{"$version":1},"reported":{"$version":1}}"#)
        let answer = TwinRequestNode.answer(id, status: 200, version: nil, body: twin)
        #expect(answer.encoded == MessageVector.twinGetResponse)
        let patched = TwinRequestNode.answer(
            .string("b0b1c2d3-0001-4aaa-8bbb-000000000002"),
            status: 204,
            version: 3,
            body: ByteBuffer()
        )
        #expect(patched.encoded == MessageVector.patchResponse)
        let notice = TwinAnswerNode.message(
            version: 4,
            payload: ByteBuffer(string: #"{"rate":10,"$version":4}"#)
        )
        #expect(notice.encoded == MessageVector.desiredChange)
    }

    @Test(arguments: [
        AMQPValue.string("b0b1c2d3-0001-4aaa-8bbb-000000000001"), .uuid(AMQPUUID(high: 5, low: 6)), .ulong(7),
    ])
    func `amqp 062 GET answers one data section, an int status and the id in its type`(_ id: AMQPValue) async throws {
        let hub = try await DeviceHub()
        try await writeDesired(hub, #"{"rate":10}"#)
        let client = try await DeviceClient.signedIn(hub)
        let answer = try await ask(request("GET", id: id), try await pair(client), client)
        #expect(answer.properties?.correlationID == id)
        #expect(answer.messageAnnotations?["status"] == .int(200))
        #expect(answer.bodyText == #"{"desired":{"rate":10,"$version":2},"reported":{"$version":1}}"#)
    }

    @Test func `amqp 063 PATCH answers status and version, and malformed JSON 400`() async throws {
        let hub = try await DeviceHub()
        let client = try await DeviceClient.signedIn(hub)
        let pair = try await pair(client)
        let patch = request("PATCH", resource: "/properties/reported", body: #"{"a":1}"#, version: .null)
        let answer = try await ask(patch, pair, client)
        #expect(answer.messageAnnotations?["status"] == .int(204))
        #expect(answer.messageAnnotations?["version"] == .long(2))
        #expect(answer.body == .data(ByteBuffer()))
        let wrong = try await ask(request("PATCH", resource: "/properties/reported", body: "{"), pair, client)
        #expect(wrong.messageAnnotations?["status"] == .int(400))
        #expect(!wrong.bodyText.isEmpty)
        let stale = request("PATCH", resource: "/properties/reported", body: #"{"a":2}"#, version: .long(1))
        #expect(try await ask(stale, pair, client).messageAnnotations?["status"] == .int(412))
        let unknown = try await ask(request("POST"), pair, client)
        #expect(unknown.messageAnnotations?["status"] == .int(400))
        let twin = try await ask(request("GET"), pair, client)
        #expect(twin.bodyText.contains(#""reported":{"a":1,"$version":2}"#))
    }

    @Test func `amqp 064 amqp 065 PUT starts notices, again is harmless, DELETE stops them`() async throws {
        let hub = try await DeviceHub()
        let client = try await DeviceClient.signedIn(hub)
        let pair = try await pair(client)
        try await writeDesired(hub, #"{"n":1}"#)
        try await client.settle()
        #expect(client.deliveries(pair.receiver).isEmpty)
        for _ in 0..<2 {
            let answer = try await ask(request("PUT", resource: desired), pair, client)
            #expect(answer.messageAnnotations?["status"] == .int(204))
        }
        try await writeDesired(hub, #"{"n":2}"#)
        try await client.wait { client.deliveries(pair.receiver).count == 3 }
        let notice = try client.messages(pair.receiver)[2]
        #expect(notice.properties?.correlationID == nil)
        #expect(notice.messageAnnotations?["version"] == .long(3))
        #expect(notice.bodyText == #"{"n":2,"$version":3}"#)
        _ = try await ask(request("DELETE", resource: desired), pair, client)
        try await writeDesired(hub, #"{"n":3}"#)
        try await client.settle()
        #expect(client.deliveries(pair.receiver).count == 4)
    }

    @Test func `amqp 066 twin links of two devices on one session stay apart`() async throws {
        let hub = try await DeviceHub()
        let client = try await DeviceClient.signedIn(hub)
        try await client.signIn(.d2)
        try await client.signIn(.m1)
        let pairs = [
            try await pair(client), try await pair(client, "devices/d2"),
            try await pair(client, "devices/d1/modules/m1"),
        ]
        for (index, pair) in pairs.enumerated() {
            let patch = request("PATCH", resource: "/properties/reported", body: #"{"i":\#(index)}"#)
            _ = try await ask(patch, pair, client)
        }
        for (index, pair) in pairs.enumerated() {
            #expect(try await ask(request("GET"), pair, client).bodyText.contains(#""reported":{"i":\#(index),"#))
            _ = try await ask(request("PUT", resource: desired), pair, client)
            #expect(client.deliveries(pair.receiver).count == 3)
        }
        try await writeDesired(hub, #"{"only":"d2"}"#, of: .d2)
        try await client.wait { client.deliveries(pairs[1].receiver).count == 4 }
        #expect(client.deliveries(pairs[0].receiver).count == 3)
        #expect(client.deliveries(pairs[2].receiver).count == 3)
    }

    @Test(arguments: [(3, 1 << 20), (256, 50)])
    func `a device that takes no answers keeps nobody else from theirs`(_ count: Int, _ bytes: Int) async throws {
        var limits = AMQPFrontLimits()
        limits.waitingResponsesMax = count
        limits.waitingResponseBytesMax = bytes
        let hub = try await DeviceHub(limits: limits)
        let client = try await DeviceClient.signedIn(hub)
        try await client.signIn(.d2)
        let stubborn = try await client.receiver("devices/d1/twin", credit: 0)
        let sender = try await client.sender("devices/d1/twin")
        var states: [DeliveryState?] = []
        for _ in 0..<5 { states.append(try await client.send(request("GET"), on: sender)) }
        #expect(states.first == .accepted)
        guard case .rejected(let error?)? = states.last else {
            Issue.record("not bounded")
            return
        }
        #expect(error.condition == .resourceLimitExceeded)
        let other = try await pair(client, "devices/d2")
        for _ in 0..<5 { _ = try await ask(request("GET"), other, client) }
        #expect(client.deliveries(stubborn).isEmpty)
    }

    @Test func `a request without correlation-id is rejected`() async throws {
        let client = try await DeviceClient.signedIn(try await DeviceHub())
        let pair = try await pair(client)
        var message = request("GET")
        message.properties = nil
        guard case .rejected(let error?) = try await client.send(message, on: pair.sender) else {
            Issue.record("not rejected")
            return
        }
        #expect(error.condition == .invalidField)
    }
}
