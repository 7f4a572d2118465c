// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import AMQP
import HubModel
import NIOCore
import Testing

@testable import AMQPFront
@testable import Hub

@MainActor
@Suite struct MethodTests {
    private let address = "devices/d1/methods/deviceBound"

    private func invoke(
        _ hub: DeviceHub,
        _ id: IdentityID = .d1,
        payload: String = #"{"delay":5}"#
    ) -> Task<MethodResult, any Error> {
        let methods = hub.hub.methods
        return Task {
            try await methods.invoke(
                id,
                MethodRequest(name: "reboot", payload: ByteBuffer(string: payload), responseTimeoutSeconds: 5)
            )
        }
    }

    private func answer(_ id: AMQPValue, status: AMQPValue = .int(200), body: String = #"{"ok":true}"#) -> Message {
        var message = Message()
        message.properties = MessageProperties()
        message.properties?.correlationID = id
        message.applicationProperties = [.string("IoThub-status"): status]
        message.body = .data(ByteBuffer(string: body))
        return message
    }

    @Test func `amqp 060 a request is the bytes that devices know`() throws {
        let uuid: [UInt8] = [
            0x8F, 0x14, 0xE4, 0x5F, 0xCE, 0xEA, 0x46, 0x7F, 0xA0, 0xF1, 0x2B, 0x3C, 0x4D, 0x5E, 0x6F, 0x70,
        ]
        let id = try #require(MethodCallID(uuid: uuid, salt: 0x8F14_E45F_CEEA_467F))
        let call = MethodCall(id: id, name: "reboot", payload: ByteBuffer(string: #"{"delay":5}"#))
        #expect(MethodCallNode.message(call).encoded == MessageVector.methodRequest)
        let response = try Message(payload: MessageVector.methodResponse)
        #expect(response.properties?.correlationID?.uuidBytes == uuid)
        #expect(response.applicationProperties?["IoThub-status"] == .int(200))
    }

    @Test(arguments: [true, false])
    func `amqp 060 a call is settled, and its answer with a uuid or a string completes it`(_ isText: Bool) async throws
    {
        let hub = try await DeviceHub()
        let client = try await DeviceClient.signedIn(hub)
        let receiver = try await client.receiver(address)
        let sender = try await client.sender(address)
        let call = invoke(hub)
        try await client.wait { client.deliveries(receiver).count == 1 }
        #expect(client.deliveries(receiver)[0].isSettled)
        let request = try client.messages(receiver)[0]
        #expect(request.bodyText == #"{"delay":5}"#)
        guard case .uuid(let uuid)? = request.properties?.correlationID else {
            Issue.record("not a uuid")
            return
        }
        let id: AMQPValue = isText ? .string(uuid.description) : .uuid(uuid)
        #expect(try await client.send(answer(id), on: sender) == .accepted)
        #expect(try await call.value == MethodResult(status: 200, payload: ByteBuffer(string: #"{"ok":true}"#)))
        // A second answer has nobody to go to, and is dropped.
        #expect(try await client.send(answer(id), on: sender) == .accepted)
    }

    @Test func `a call without argument has one empty data section`() async throws {
        let hub = try await DeviceHub()
        let client = try await DeviceClient.signedIn(hub, .m1)
        let receiver = try await client.receiver("devices/d1/modules/m1/methods/devicebound")
        let sender = try await client.sender("devices/d1/modules/m1/methods/devicebound")
        let call = invoke(hub, .m1, payload: "")
        try await client.wait { client.deliveries(receiver).count == 1 }
        let request = try client.messages(receiver)[0]
        #expect(request.body == .data(ByteBuffer()))
        let id = try #require(request.properties?.correlationID)
        try await client.send(answer(id, status: .long(404), body: ""), on: sender)
        #expect(try await call.value == MethodResult(status: 404, payload: ByteBuffer()))
    }

    @Test(arguments: [true, false])
    func `amqp 061 with one of the two links the device is not ready`(_ sends: Bool) async throws {
        let hub = try await DeviceHub()
        let client = try await DeviceClient.signedIn(hub)
        if sends { _ = try await client.sender(address) } else { _ = try await client.receiver(address) }
        await #expect(throws: HubError.self) { _ = try await invoke(hub).value }
        // Without credit neither.
        let receiver = sends ? try await client.receiver(address, credit: 0) : nil
        if let receiver {
            await #expect(throws: HubError.self) { _ = try await invoke(hub).value }
            client.engine.grantCredit(1, to: receiver)
            try await client.settle()
        } else {
            _ = try await client.sender(address)
        }
        #expect(hub.hub.directory.link(of: .d1, wanting: .methods) != nil)
    }

    @Test func `a device whose links go fails the calls that wait for it`() async throws {
        let hub = try await DeviceHub()
        let client = try await DeviceClient.signedIn(hub)
        let receiver = try await client.receiver(address)
        _ = try await client.sender(address)
        let call = invoke(hub)
        try await client.wait { client.deliveries(receiver).count == 1 }
        try await client.disconnect()
        await #expect(throws: HubError.self) { _ = try await call.value }
    }

    @Test func `a call that nobody waits for any more is not delivered when the device has credit again`() async throws
    {
        let hub = try await DeviceHub()
        let client = try await DeviceClient.signedIn(hub)
        let receiver = try await client.receiver(address, credit: 0)
        _ = try await client.sender(address)
        client.engine.grantCredit(1, to: receiver)
        try await client.settle()
        let first = invoke(hub)
        try await client.wait { client.deliveries(receiver).count == 1 }
        let second = invoke(hub)
        // Calls are numbered from 1.
        try await client.wait { hub.hub.methods.isOpen(2) }
        try await client.settle()
        second.cancel()
        await #expect(throws: CancellationError.self) { _ = try await second.value }
        client.engine.grantCredit(5, to: receiver)
        try await client.settle()
        #expect(client.deliveries(receiver).count == 1)
        first.cancel()
    }

    @Test func `a device whose credit comes before its link is accepted is ready`() async throws {
        let hub = try await DeviceHub()
        let client = try await DeviceClient.signedIn(hub)
        let session = try await client.session()
        _ = try await client.sender(address)
        let claims = try await client.sender("$cbs")
        // The link waits for the token before it.
        _ = client.queue(FrontClient.putToken(hub.token(of: .d1)).encoded, on: claims)
        var attach = Attach(name: "calls", handle: 0, role: .receiver)
        attach.source = Source(address: address)
        let link = try #require(client.engine.attach(attach, on: session))
        var bytes = client.engine.takeOutput(now: 0)
        for handle in [link.handle, nil] {
            var flow = Flow(nextIncomingID: 1, incomingWindow: 100, nextOutgoingID: 0, outgoingWindow: 100)
            flow.nextOutgoingID = 100
            flow.handle = handle
            if handle != nil { flow.linkCredit = 5 }
            Frame.write(to: &bytes, channel: session.channel) { flow.encode(into: &$0) }
        }
        try await client.sendRaw(bytes)
        try await client.wait { link.state == .attached }
        #expect(hub.hub.directory.link(of: .d1, wanting: .methods) != nil)
    }

    @Test func `an answer without status or uuid is rejected`() async throws {
        let client = try await DeviceClient.signedIn(try await DeviceHub())
        _ = try await client.receiver(address)
        let sender = try await client.sender(address)
        for message in [answer(.string("no uuid")), answer(.uuid(AMQPUUID(high: 1, low: 1)), status: .string("200"))] {
            guard case .rejected(let error?) = try await client.send(message, on: sender) else {
                Issue.record("not rejected")
                continue
            }
            #expect(error.condition == .invalidField)
        }
    }
}
