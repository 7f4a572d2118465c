// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import AMQP
import AMQPFront
import Hub
import HubModel
import NIOCore
import Testing

@Suite struct CBSTests {
    @Test(arguments: [
        AMQPValue.ulong(0), .ulong(1), .string("id"), .uuid(AMQPUUID(high: 1, low: 2)),
        .binary(ByteBuffer(string: "b")),
    ])
    func `amqp 035 amqp 037 the answer carries the id of the request in its type, and an int`(_ id: AMQPValue) throws {
        let fixture = FrontFixture()
        let client = try fixture.client()
        let answer = try #require(try client.request(FrontClient.putToken(fixture.token(), id: id), to: "$cbs"))
        #expect(answer.properties?.correlationID == id)
        #expect(answer.applicationProperties?["status-code"] == .int(200))
        #expect(answer.applicationProperties?["status-description"] == .string("OK"))
        // pyamqp loses code and text when this is there.
        #expect(answer.applicationProperties?["error-condition"] == nil)
    }

    @Test func `amqp 036 the disposition precedes the answer, and a settled request gets none`() throws {
        let fixture = FrontFixture()
        let client = try fixture.client()
        let (sender, receiver) = try client.pair("$cbs")
        let before = client.frames.count
        client.engine.send(on: sender, settled: false) { FrontClient.putToken(fixture.token()).encode(into: &$0) }
        client.run()
        let order = client.frames.dropFirst(before).compactMap { frame in
            switch frame {
            case .disposition: "disposition"
            case .transfer: "transfer"
            default: nil as String?
            }
        }
        #expect(order == ["disposition", "transfer"])
        let settled = client.frames.count
        client.engine.send(on: sender, settled: true) { FrontClient.putToken(fixture.token()).encode(into: &$0) }
        client.run()
        let dispositions = client.frames.dropFirst(settled).filter { if case .disposition = $0 { true } else { false } }
        #expect(dispositions.isEmpty)
        #expect(client.deliveries(receiver).count == 2)
    }

    @Test(arguments: ["servicebus.windows.net:sastoken", "ServiceBus.Windows.Net:SasToken", "jwt", "Bearer", "bearer"])
    func `amqp 038 types are taken in any letter case and the body decides`(_ type: String) throws {
        let fixture = FrontFixture()
        let client = try fixture.client()
        let good = try client.request(FrontClient.putToken(fixture.token(), type: type), to: "$cbs")
        #expect(good?.applicationProperties?["status-code"] == .int(200))
        let bearer = try client.request(FrontClient.putToken("Bearer eyJ0", type: type), to: "$cbs")
        #expect(bearer?.applicationProperties?["status-code"] == .int(401))
    }

    @Test func `amqp 040 a wrong signature gives 401 and no access`() throws {
        let fixture = FrontFixture()
        let client = try fixture.client()
        let wrong = fixture.token().replacing("sig=", with: "sig=AAAA")
        #expect(try [400, 401].contains(client.putToken(wrong) ?? 0))
        #expect(client.error(of: try client.read())?.condition == .unauthorizedAccess)
    }

    @Test func `malformed requests give 400 and the links stay`() throws {
        let fixture = FrontFixture()
        let client = try fixture.client()
        var noName = FrontClient.putToken(fixture.token())
        noName.applicationProperties = [.string("operation"): .string("put-token")]
        var noBody = FrontClient.putToken(fixture.token())
        noBody.body = .none
        var other = FrontClient.putToken(fixture.token())
        other.applicationProperties = [.string("operation"): .string("get")]
        for message in [
            noName, noBody, other, FrontClient.putToken("SharedAccessSignature nonsense"),
            FrontClient.putToken("x", type: "y"),
        ] {
            let answer = try client.request(message, to: "$cbs")
            #expect(answer?.applicationProperties?["status-code"] == .int(400))
        }
        #expect(try client.putToken(fixture.token()) == 200)
    }

    @Test func `amqp 041 a second token extends the first without attaching again`() throws {
        let fixture = FrontFixture()
        let client = try fixture.client()
        #expect(try client.putToken(fixture.token(expiresIn: 60)) == 200)
        let link = try client.read(0)
        fixture.advance(seconds: 50)
        #expect(try client.putToken(fixture.token(expiresIn: 3600)) == 200)
        for _ in 0..<40 { fixture.advance(seconds: 10) }
        try fixture.publish(["later"], device: "d")
        client.run()
        #expect(try client.bodies(link) == ["later"])
    }

    @Test func `an answer is settled for a peer that settles second`() throws {
        let fixture = FrontFixture()
        let client = try fixture.client()
        var attach = Attach(name: "r", handle: 0, role: .receiver)
        attach.senderSettleMode = .unsettled
        attach.receiverSettleMode = .second
        attach.source = Source(address: "$cbs")
        let receiver = try client.attach(attach, credit: 10)
        attach = Attach(name: "s", handle: 0, role: .sender)
        attach.target = Target(address: "$cbs")
        let sender = try client.attach(attach)
        client.engine.send(on: sender, settled: true) { FrontClient.putToken(fixture.token()).encode(into: &$0) }
        client.run()
        let answer = try #require(client.deliveries(receiver).first)
        #expect(!answer.isSettled)
        let accepted = Disposition(role: .receiver, first: answer.id, settled: false, state: .accepted)
        client.send(.disposition(accepted), on: receiver.session)
        guard case .disposition(let disposition)? = client.frames.last else {
            Issue.record("not answered")
            return
        }
        #expect(disposition.role == .sender && disposition.settled == true && disposition.state == .accepted)
    }

    @Test func `tokens of two policies for one audience stand side by side`() throws {
        let fixture = FrontFixture()
        var policies = FrontFixture.policies()
        for index in policies.indices where policies[index].name == "registryRead" {
            policies[index].rights = .deviceConnect
        }
        fixture.policies.replace(with: policies)
        let client = try fixture.service()
        #expect(try client.putToken(fixture.token("myhub.example.net", policy: "registryRead")) == 200)
        #expect(try client.read().state == .attached)
    }

    @Test func `more tokens than allowed give 403`() throws {
        var limits = AMQPFrontLimits()
        limits.tokensMax = 1
        let fixture = FrontFixture(limits: limits)
        let client = try fixture.client()
        #expect(try client.putToken(fixture.token()) == 200)
        #expect(try client.putToken(fixture.token("sb://myhub.example.net/myhub/ConsumerGroups/second")) == 403)
        #expect(try client.putToken(fixture.token()) == 200)
    }
}
