// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import Hub
import HubModel
import MQTT
import NIOCore
import NIOEmbedded
import Testing

@testable import MQTTFront

/// CONNECT, CONNACK and how connections end (docs/wire/mqtt.md, statements 1 to 36).
@Suite(.timeLimit(.minutes(1))) struct ConnectionTests {
    private static let host = TestHub.host

    /// Signs in and expects the answer; a refusal closes.
    private func expect(
        _ code: Connack.ReturnCode,
        _ connect: Connect,
        _ hub: TestHub,
        _ location: SourceLocation = #_sourceLocation
    ) async throws {
        let client = try await TestClient.open(hub)
        try await client.send(.connect(connect))
        let answer = try await client.receive()
        let accepted = Packet.connack(Connack(sessionPresent: !connect.cleanSession, returnCode: .accepted))
        #expect(answer == (code == .accepted ? accepted : .refused(code)), sourceLocation: location)
        if code != .accepted { try await client.expectClosed() }
    }

    // MARK: Sign-in

    @Test func `mqtt 001 mqtt 002 session present says whether the session is kept`() async throws {
        let hub = try await TestHub()
        let kept = try await TestClient.open(hub)
        try await kept.send(.connect(TestClient.connect("d1")))
        _ = try await kept.nextWrite()
        try await kept.cut()
        for (clean, bytes) in [(false, [0x20, 0x02, 0x01, 0x00] as [UInt8]), (true, [0x20, 0x02, 0x00, 0x00])] {
            let client = try await TestClient.open(hub)
            var connect = TestClient.connect("d1")
            connect.cleanSession = clean
            try await client.send(.connect(connect))
            let answer = try await client.nextWrite()
            #expect(Array(answer.readableBytesView) == bytes)
        }
    }

    @Test(arguments: [
        "/?api-version=2020-09-30&DeviceClientType=azure-iot-device%2F1.0%20%28a%3Bb%29", "/?api-version=2021-04-12",
        "/api-version=2016-11-14&DeviceClientType=iothubclient%2F1.1.7", "/?DeviceClientType=x&api-version=2019-10-01",
        "/api-version=2017-06-30/DeviceClientType=Microsoft.Azure.Devices.Client/1.5.1-preview-003",
        "/?api-version=2021-04-12&model-id=dtmi:com:example;1&DeviceClientType=a%3Bb", "", "/", "/?",
        "/?x", "/?api-version=", "/?a=b&a=c&unknown=%zz",
    ])
    func `mqtt 004 every form of user name signs in`(_ tail: String) async throws {
        let hub = try await TestHub()
        try await expect(.accepted, TestClient.connect("d1", tail: tail), hub)
    }

    @Test func `mqtt 005 a module signs in under its own name`() async throws {
        let hub = try await TestHub()
        for tail in ["/?api-version=2021-04-12", "/api-version=2017-06-30/DeviceClientType=x/1", ""] {
            try await expect(.accepted, TestClient.connect("d1/m1", tail: tail), hub)
        }
    }

    @Test func `mqtt 006 a user name of another device than the client id is refused`() async throws {
        let hub = try await TestHub()
        for name in ["d2/?api-version=1", "d1x/?api-version=1", "d1/m1/?api-version=1", "d1/m1", "d"] {
            var connect = TestClient.connect("d1", token: TestHub.token("\(Self.host)%2Fdevices%2Fd2"))
            connect.username = "\(Self.host)/\(name)"
            try await expect(.notAuthorized, connect, hub)
        }
    }

    @Test func `mqtt 007 mqtt 008 unknown devices are refused, and upper and lower case differ`() async throws {
        let hub = try await TestHub()
        let token = TestHub.token("\(Self.host)%2Fdevices%2Fd1")
        try await expect(.notAuthorized, TestClient.connect("D1", token: token), hub)
        try await expect(.notAuthorized, TestClient.connect("D1"), hub)
        try await expect(.notAuthorized, TestClient.connect("nobody"), hub)
    }

    @Test func `mqtt 009 a wrong key, garbage and an empty password are refused`() async throws {
        let hub = try await TestHub()
        let resource = "\(Self.host)%2Fdevices%2Fd1"
        for password in [TestHub.token(resource, key: TestHub.policyKey), "garbage", "", "SharedAccessSignature "] {
            try await expect(.notAuthorized, TestClient.connect("d1", token: password), hub)
        }
        var without = TestClient.connect("d1")
        without.password = nil
        try await expect(.notAuthorized, without, hub)
        without.password = ByteBuffer(bytes: [0xFF, 0x00])
        try await expect(.notAuthorized, without, hub)
        without.username = nil
        without.password = nil
        try await expect(.notAuthorized, without, hub)
    }

    @Test func `mqtt 010 mqtt 011 a token signs in until five minutes after its end`() async throws {
        let hub = try await TestHub()
        let resource = "\(Self.host)%2Fdevices%2Fd1"
        let old = TestHub.token(resource, expiresIn: -600)
        try await expect(.notAuthorized, TestClient.connect("d1", token: old), hub)
        let recent = TestHub.token(resource, expiresIn: -120)
        try await expect(.accepted, TestClient.connect("d1", token: recent), hub)
    }

    @Test func `mqtt 012 slashes of a resource may be raw or encoded and fields in any order`() async throws {
        let hub = try await TestHub()
        for slash in ["/", "%2f", "%2F"] {
            let token = TestHub.token("\(Self.host)\(slash)devices\(slash)d1")
            try await expect(.accepted, TestClient.connect("d1", token: token), hub)
            let fields = token.dropFirst("SharedAccessSignature ".count).split(separator: "&")
            let turned = "SharedAccessSignature \(fields[1])&\(fields[2])&\(fields[0])"
            try await expect(.accepted, TestClient.connect("d1", token: turned), hub)
        }
    }

    @Test func `mqtt 013 mqtt 014 the second key and a policy's key sign in`() async throws {
        let hub = try await TestHub()
        let own = TestHub.token("\(Self.host)%2Fdevices%2Fd1", key: TestHub.otherKey)
        try await expect(.accepted, TestClient.connect("d1", token: own), hub)
        for resource in ["\(Self.host)%2Fdevices%2Fd1", Self.host] {
            let token = TestHub.token(resource, key: TestHub.policyKey, policy: "device")
            try await expect(.accepted, TestClient.connect("d1", token: token), hub)
        }
    }

    @Test func `mqtt 015 a policy without DeviceConnect and a resource cut short are refused`() async throws {
        let hub = try await TestHub()
        let service = TestHub.token("\(Self.host)%2Fdevices%2Fd1", key: TestHub.policyKey, policy: "service")
        try await expect(.notAuthorized, TestClient.connect("d1", token: service), hub)
        let cut = TestHub.token("\(Self.host)%2Fdevices%2Fd")
        try await expect(.notAuthorized, TestClient.connect("d1", token: cut), hub)
    }

    @Test func `mqtt 018 a disabled device is refused with code 5`() async throws {
        let hub = try await TestHub()
        try await hub.register(IdentityID(device: "d0"), status: .disabled)
        try await expect(.notAuthorized, TestClient.connect("d0"), hub)
    }

    @Test func `a user name for another hub and an empty client id are refused`() async throws {
        let hub = try await TestHub()
        var connect = TestClient.connect("d1")
        connect.username = "other.example/d1/?api-version=1"
        try await expect(.notAuthorized, connect, hub)
        try await expect(.notAuthorized, TestClient.connect(""), hub)
        try await expect(.notAuthorized, TestClient.connect("d 1"), hub)
        connect.username = "H.Example:8883/d1/?api-version=1"
        try await expect(.accepted, connect, hub)
    }

    // MARK: Packets out of place

    @Test func `mqtt 019 a first packet other than CONNECT closes without a word`() async throws {
        let hub = try await TestHub()
        for packet in [Packet.pingreq, .telemetry(), .subscribe(1, "#"), .disconnect] {
            let client = try await TestClient.open(hub)
            try await client.send(packet)
            try await client.expectClosed()
            #expect(try await client.receivedBytes().isEmpty)
        }
        #expect(hub.events.attempts == 0)
    }

    @Test func `mqtt 020 a second CONNECT closes the connection`() async throws {
        let hub = try await TestHub()
        let client = try await TestClient.signedIn(hub)
        try await client.send(.connect(TestClient.connect("d1")))
        try await client.expectClosed()
        #expect(try await client.receivedBytes().isEmpty)
    }

    @Test func `mqtt 021 a connection without CONNECT is closed after a minute`() async throws {
        let hub = try await TestHub()
        let client = try await TestClient.open(hub)
        await client.advance(seconds: 59)
        #expect(await client.isOpen())
        await client.advance(seconds: 1)
        try await client.expectClosed()
    }

    @Test func `mqtt 022 other protocol levels are answered with code 1`() async throws {
        let hub = try await TestHub()
        for (name, level) in [("MQIsdp", UInt8(3)), ("MQTT", 5), ("MQTT", 3)] {
            var body = ByteBuffer()
            body.writeInteger(UInt16(name.utf8.count))
            body.writeString(name)
            body.writeInteger(level)
            body.writeBytes([0x02, 0x00, 0x3C, 0x00, 0x00, 0x02, 0x64, 0x31])
            var packet = ByteBuffer(bytes: [0x10, UInt8(body.readableBytes)])
            packet.writeImmutableBuffer(body)
            let client = try await TestClient.open(hub)
            try await client.send(packet)
            #expect(try await client.receive() == .refused(.unacceptableProtocolVersion))
            try await client.expectClosed()
        }
    }

    @Test func `mqtt 023 what comes in one segment with CONNECT is answered after CONNACK, in order`() async throws {
        let hub = try await TestHub()
        let client = try await TestClient.open(hub)
        try await client.send(
            .connect(TestClient.connect("d1")),
            .subscribe(1, "devices/d1/messages/devicebound/#"),
            .telemetry(id: 2),
            .telemetry(id: 3)
        )
        #expect(try await client.receive() == .connack(Connack(sessionPresent: true, returnCode: .accepted)))
        #expect(try await client.receive() == .suback(Suback(packetID: 1, returnCodes: [1])))
        #expect(try await client.receive() == .puback(2))
        #expect(try await client.receive() == .puback(3))
        #expect(try hub.storedEvents().count == 2)
    }

    @Test func `a packet larger than a CONNECT needs is refused before sign-in`() async throws {
        let hub = try await TestHub()
        let client = try await TestClient.open(hub)
        // Only the fixed header: nothing of a packet that is too large is waited for.
        try await client.send(ByteBuffer(bytes: [0x10, 0x80, 0x80, 0x01]))
        try await client.expectClosed()
        #expect(try await client.receivedBytes().isEmpty)
    }

    @Test func `bytes that wait for the sign-in are bounded by not reading`() async throws {
        var limits = MQTTFrontLimits()
        limits.connection.bytesBeforeConnackMax = 100
        let hub = try await TestHub(limits: limits)
        let client = try await TestClient.open(hub)
        let held = try await client.channel.testingEventLoop.executeInContext {
            var bytes = ByteBuffer()
            try Packet.connect(TestClient.connect("d1")).encode(into: &bytes)
            for id in 1...10 { try Packet.telemetry(id: UInt16(id)).encode(into: &bytes) }
            client.channel.pipeline.fireChannelRead(bytes)
            client.channel.pipeline.fireChannelReadComplete()
            client.channel.pipeline.read()
            return true
        }
        #expect(held)
        #expect(try await client.receive() == .connack(Connack(sessionPresent: true, returnCode: .accepted)))
        for id in 1...10 { #expect(try await client.receive() == .puback(UInt16(id))) }
        #expect(try await client.inspect { $0.readIsHeld } == false)
    }

    // MARK: Two connections

    @Test func `mqtt 024 a newer connection takes over without a packet to the older one`() async throws {
        let hub = try await TestHub()
        let first = try await TestClient.signedIn(hub)
        let second = try await TestClient.signedIn(hub)
        try await first.expectClosed()
        #expect(try await first.receivedBytes().isEmpty)
        try await second.publish(id: 9)
        #expect(try await second.receive() == .puback(9))
        #expect(hub.hub.directory.presence(of: IdentityID(device: "d1"))?.isConnected == true)
    }

    @Test func `mqtt 025 a device and its module do not disturb each other`() async throws {
        let hub = try await TestHub()
        let device = try await TestClient.signedIn(hub)
        let module = try await TestClient.signedIn(hub, as: "d1/m1")
        #expect(await device.isOpen())
        #expect(await module.isOpen())
        #expect(hub.hub.directory.connectedCount == 2)
    }

    // MARK: Keep-alive

    @Test func `mqtt 026 silence of one and a half keep-alives closes, not less`() async throws {
        let hub = try await TestHub()
        let client = try await TestClient.signedIn(hub, keepAliveSeconds: 10)
        await client.advance(seconds: 14)
        #expect(await client.isOpen())
        await client.advance(seconds: 1)
        try await client.expectClosed()
    }

    @Test func `mqtt 027 pings are answered and keep the connection`() async throws {
        let hub = try await TestHub()
        let client = try await TestClient.signedIn(hub, keepAliveSeconds: 10)
        for _ in 0..<10 {
            await client.advance(seconds: 8)
            try await client.send(.pingreq)
            #expect(try await client.receive() == .pingresp)
        }
        #expect(await client.isOpen())
    }

    @Test func `mqtt 028 without a keep-alive the longest silence is 1767 seconds`() async throws {
        let hub = try await TestHub()
        let client = try await TestClient.signedIn(hub, keepAliveSeconds: 0)
        await client.advance(seconds: 1766)
        #expect(await client.isOpen())
        await client.advance(seconds: 1)
        try await client.expectClosed()
    }

    // MARK: Credentials that end

    @Test func `mqtt 029 a connection ends five minutes after its token, and a new token signs in`() async throws {
        let hub = try await TestHub()
        let token = TestHub.token("\(Self.host)%2Fdevices%2Fd1", expiresIn: 100)
        let client = try await TestClient.signedIn(hub, token: token)
        await client.advance(seconds: 399)
        #expect(await client.isOpen())
        await client.advance(seconds: 1)
        try await client.expectClosed()
        hub.advanceClock(seconds: 401)
        try await expect(.notAuthorized, TestClient.connect("d1", token: token), hub)
        _ = try await TestClient.signedIn(hub)
    }

    @Test(arguments: [true, false])
    func `mqtt 030 a device that is disabled or deleted is cut off and refused`(_ deletes: Bool) async throws {
        let hub = try await TestHub()
        let device = try await TestClient.signedIn(hub)
        let module = try await TestClient.signedIn(hub, as: "d1/m1")
        let other = try await TestClient.signedIn(hub, as: "d2")
        if deletes {
            try await hub.delete(IdentityID(device: "d1"))
        } else {
            try await hub.setStatus(.disabled, of: IdentityID(device: "d1"))
        }
        try await device.expectClosed()
        try await module.expectClosed()
        #expect(await other.isOpen())
        try await expect(.notAuthorized, TestClient.connect("d1"), hub)
    }

    @Test func `a device that is made anew knows nothing of the connections of the deleted one`() async throws {
        let hub = try await TestHub()
        let d1 = IdentityID(device: "d1")
        let client = try await TestClient.signedIn(hub)
        try await hub.delete(d1)
        try await client.expectClosed()
        #expect(hub.hub.directory.connectedCount == 0)
        #expect(hub.hub.directory.presence(of: d1) == nil)
        try await hub.register(d1)
        #expect(hub.hub.directory.presence(of: d1) == nil)
        _ = try await TestClient.signedIn(hub)
        #expect(hub.hub.directory.presence(of: d1)?.isConnected == true)
    }

    // MARK: The end

    @Test func `the hub forgets a connection that ended`() async throws {
        let hub = try await TestHub()
        let client = try await TestClient.signedIn(hub)
        #expect(hub.hub.metrics.mqtt.open.value == 1)
        #expect(hub.hub.metrics.mqtt.signedIn.value == 1)
        try await client.send(.disconnect)
        try await client.expectClosed()
        #expect(hub.hub.directory.connectedCount == 0)
        #expect(hub.hub.metrics.mqtt.open.value == 0)
    }

    @Test(arguments: [PacketType.connack, .pubrec, .pubrel, .pubcomp, .suback, .unsuback, .pingresp])
    func `packets that only servers send close the connection`(_ type: PacketType) async throws {
        let hub = try await TestHub()
        let client = try await TestClient.signedIn(hub)
        switch type {
        case .connack: try await client.send(.refused(.notAuthorized))
        case .pubrec: try await client.send(.pubrec(Pubrec(packetID: 1)))
        case .pubrel: try await client.send(.pubrel(Pubrel(packetID: 1)))
        case .pubcomp: try await client.send(.pubcomp(Pubcomp(packetID: 1)))
        case .suback: try await client.send(.suback(Suback(packetID: 1, returnCodes: [0])))
        case .unsuback: try await client.send(.unsuback(Unsuback(packetID: 1)))
        default: try await client.send(.pingresp)
        }
        try await client.expectClosed()
    }

    @Test func `mqtt 069 a PUBACK for an id that was never sent is ignored`() async throws {
        let hub = try await TestHub()
        let client = try await TestClient.signedIn(hub)
        try await client.send(.puback(77))
        #expect(await client.isOpen())
    }

    @Test func `a half-closed connection is closed`() async throws {
        let hub = try await TestHub()
        let client = try await TestClient.signedIn(hub)
        client.channel.pipeline.fireUserInboundEventTriggered(ChannelEvent.inputClosed)
        try await client.expectClosed()
    }

    @Test func `an error of the transport closes the connection`() async throws {
        struct Broken: Error {}
        let hub = try await TestHub()
        let client = try await TestClient.signedIn(hub)
        client.channel.pipeline.fireErrorCaught(Broken())
        try await client.expectClosed()
    }
}
