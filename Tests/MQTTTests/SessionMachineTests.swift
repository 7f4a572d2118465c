// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import MQTT
import NIOCore
import Testing

@Suite struct SessionMachineTests {
    private static let will = Connect.Will(topic: ByteBuffer(string: "w"), payload: ByteBuffer())

    private func connected(
        keepAliveSeconds: UInt16 = 10,
        will: Connect.Will? = nil,
        expiresAt: Duration? = nil,
        limits: MQTTLimits = MQTTLimits()
    ) -> SessionMachine {
        var machine = SessionMachine(limits: limits, now: .zero)
        #expect(machine.connectReceived() == .authenticate)
        let connect = Connect(clientID: "d1", keepAliveSeconds: keepAliveSeconds, will: will)
        #expect(machine.accept(connect, stored: SubscriptionSet(), expiresAt: expiresAt, now: .zero) == true)
        return machine
    }

    private let subscribe = Subscribe(packetID: 5, requests: [.init(filter: "a", qos: .exactlyOnce)])
    private let unsubscribe = Unsubscribe(packetID: 6, filters: ["a"])

    // MARK: Before CONNECT

    @Test func `every packet before CONNECT ends the connection`() {
        func ended(_ body: (inout SessionMachine) -> SessionEnd?) {
            var machine = SessionMachine(limits: MQTTLimits(), now: .zero)
            #expect(body(&machine) == .packetBeforeConnect)
            #expect(machine.hasEnded)
            #expect(machine.takeWill() == false)
        }
        ended { if case .close(let end) = $0.publishReceived(qos: .atLeastOnce, packetID: 1) { end } else { nil } }
        ended { if case .close(let end) = $0.subscribeReceived(subscribe) { end } else { nil } }
        ended { if case .close(let end) = $0.unsubscribeReceived(unsubscribe) { end } else { nil } }
        ended { if case .close(let end) = $0.pingreqReceived() { end } else { nil } }
        ended { if case .close(let end) = $0.pubackReceived(packetID: 1) { end } else { nil } }
        ended { $0.disconnectReceived() }
        for type in PacketType.allCases { ended { $0.unexpectedReceived(type) } }
    }

    @Test func `only a wrong protocol level in the first packet is answered`() {
        var first = SessionMachine(limits: MQTTLimits(), now: .zero)
        #expect(first.malformedReceived(.protocolLevelUnacceptable) == .refuse(.unacceptableProtocolVersion))
        #expect(first.hasEnded)
        var other = SessionMachine(limits: MQTTLimits(), now: .zero)
        #expect(other.malformedReceived(.protocolNameInvalid) == .close(.malformed(.protocolNameInvalid)))
        var later = connected()
        #expect(later.malformedReceived(.protocolLevelUnacceptable) == .close(.malformed(.protocolLevelUnacceptable)))
    }

    @Test func `no CONNECT within the time-out ends the connection`() {
        var machine = SessionMachine(limits: MQTTLimits(), now: .seconds(100))
        #expect(machine.timePassed(now: .seconds(100)) == .wake(at: .seconds(160)))
        machine.bytesReceived(now: .seconds(150))
        #expect(machine.timePassed(now: .seconds(159)) == .wake(at: .seconds(160)))
        #expect(machine.timePassed(now: .seconds(160)) == .close(.connectTimedOut))
        #expect(machine.timePassed(now: .seconds(161)) == .rest)
    }

    @Test func `small packets only before CONNECT was accepted`() {
        let machine = SessionMachine(limits: MQTTLimits(), now: .zero)
        #expect(machine.packetSizeMax == 16 * 1024)
        #expect(connected().packetSizeMax == 320 * 1024)
    }

    // MARK: Authenticating

    @Test func `nothing is decoded while authentication runs`() {
        var machine = SessionMachine(limits: MQTTLimits(), now: .zero)
        #expect(machine.mayDecode)
        #expect(machine.connectReceived() == .authenticate)
        #expect(machine.isAuthenticating)
        #expect(!machine.mayDecode)
        let connect = Connect(clientID: "d1")
        let stored = SubscriptionSet([.init(filter: "a", qos: .atLeastOnce)])
        #expect(machine.accept(connect, stored: stored, expiresAt: nil, now: .zero) == true)
        #expect(machine.mayDecode)
        #expect(machine.subscriptions == stored)
    }

    @Test func `a refusal ends the connection`() {
        var machine = SessionMachine(limits: MQTTLimits(), now: .zero)
        #expect(machine.connectReceived() == .authenticate)
        #expect(machine.refuse(.notAuthorized) == .notAuthorized)
        #expect(machine.hasEnded)
        #expect(!machine.mayDecode)
    }

    @Test func `an answer that comes after the end is dropped`() {
        var machine = SessionMachine(limits: MQTTLimits(), now: .zero)
        #expect(machine.connectReceived() == .authenticate)
        machine.connectionLost()
        #expect(machine.accept(Connect(clientID: "d1"), stored: SubscriptionSet(), expiresAt: nil, now: .zero) == false)
        #expect(!machine.isConnected)
    }

    @Test func `authentication that takes too long is answered with a code that SDKs retry`() {
        var machine = SessionMachine(limits: MQTTLimits(), now: .zero)
        #expect(machine.connectReceived() == .authenticate)
        #expect(machine.timePassed(now: .seconds(60)) == .refuse(.serverUnavailable))
        #expect(machine.hasEnded)
    }

    @Test func `a CONNECT in every later state ends the connection`() {
        var authenticating = SessionMachine(limits: MQTTLimits(), now: .zero)
        #expect(authenticating.connectReceived() == .authenticate)
        #expect(authenticating.connectReceived() == .close(.secondConnect))
        var established = connected(will: Self.will)
        #expect(established.connectReceived() == .close(.secondConnect))
        #expect(established.takeWill() == true)
        #expect(established.connectReceived() == .close(.secondConnect))
    }

    // MARK: Connected

    @Test func `QoS 0 owes nothing, QoS 1 a PUBACK, QoS 2 ends the connection`() {
        var machine = connected(will: Self.will)
        #expect(machine.publishReceived(qos: .atMostOnce, packetID: 0) == .take)
        #expect(machine.acknowledgements.count == 0)
        #expect(machine.publishReceived(qos: .atLeastOnce, packetID: 9) == .take)
        #expect(machine.acknowledgements.count == 1)
        #expect(machine.publishReceived(qos: .exactlyOnce, packetID: 10) == .close(.exactlyOnceUnsupported))
        #expect(machine.acknowledgements.count == 1)
        #expect(machine.hasEnded)
        #expect(machine.takeWill() == true)
    }

    @Test func `at the bound of pending acknowledgements nothing is decoded`() {
        var limits = MQTTLimits()
        limits.acknowledgementsPendingMax = 2
        var machine = connected(limits: limits)
        _ = machine.publishReceived(qos: .atLeastOnce, packetID: 1)
        #expect(machine.mayDecode)
        _ = machine.subscribeReceived(subscribe)
        #expect(!machine.mayDecode)
        var out = ByteBuffer()
        machine.acknowledgements.complete(first: 0, count: 1)
        #expect(machine.acknowledgements.drain(into: &out) == 1)
        #expect(machine.mayDecode)
    }

    @Test func `SUBSCRIBE grants at most QoS 1 and is in force at once`() {
        var machine = connected()
        #expect(machine.subscribeReceived(subscribe) == .store(acknowledgement: 0))
        #expect(machine.subscriptions.granted(for: "a") == .atLeastOnce)
        machine.acknowledgements.complete(first: 0, count: 1)
        var out = ByteBuffer()
        #expect(machine.acknowledgements.drain(into: &out) == 1)
        #expect(out.bytes == hex("90 03 00 05 01").bytes)
        #expect(machine.unsubscribeReceived(unsubscribe) == .store(acknowledgement: 1))
        #expect(machine.subscriptions.granted(for: "a") == nil)
        #expect(machine.unsubscribeReceived(unsubscribe) == .store(acknowledgement: 2))
    }

    @Test func `more subscriptions than the bound end the connection`() {
        var limits = MQTTLimits()
        limits.subscriptionsMax = 1
        var machine = connected(limits: limits)
        #expect(machine.subscribeReceived(subscribe) == .store(acknowledgement: 0))
        #expect(machine.subscribeReceived(subscribe) == .store(acknowledgement: 1))
        let more = Subscribe(packetID: 6, requests: [.init(filter: "b", qos: .atMostOnce)])
        #expect(machine.subscribeReceived(more) == .close(.subscriptionsExceeded))
    }

    @Test func `PINGREQ is answered and unknown PUBACKs are ignored`() {
        var machine = connected()
        #expect(machine.pingreqReceived() == .sendPingresp)
        #expect(machine.pubackReceived(packetID: 1) == .ignore)
        #expect(machine.takePacketID(token: 77) == 1)
        #expect(machine.pubackReceived(packetID: 1) == .settle(token: 77))
        #expect(machine.pubackReceived(packetID: 1) == .ignore)
    }

    @Test(arguments: [PacketType.connack, .pubrec, .pubrel, .pubcomp, .suback, .unsuback, .pingresp])
    func `packets that a client of this server never sends end the connection`(_ type: PacketType) {
        var machine = connected(will: Self.will)
        #expect(machine.unexpectedReceived(type) == .unexpectedPacket(type))
        #expect(machine.takeWill() == true)
    }

    // MARK: The will

    @Test func `only DISCONNECT discards the will, and it is taken once`() {
        var polite = connected(will: Self.will)
        #expect(polite.takeWill() == false)
        #expect(polite.disconnectReceived() == .disconnected)
        #expect(polite.takeWill() == false)
        var cut = connected(will: Self.will)
        cut.connectionLost()
        #expect(cut.takeWill() == true)
        #expect(cut.takeWill() == false)
        var without = connected()
        without.connectionLost()
        #expect(without.takeWill() == false)
    }

    // MARK: Time

    @Test(arguments: [(UInt16(10), 15), (0, 1767), (1177, 1765), (1178, 1767), (65535, 1767), (1, 1)])
    func `silence of one and a half keep-alives ends the connection`(_ keepAlive: UInt16, _ seconds: Int) {
        var machine = connected(keepAliveSeconds: keepAlive)
        let limit =
            keepAlive == 1
            ? Duration.milliseconds(1500) : keepAlive == 1177 ? .milliseconds(1_765_500) : .seconds(seconds)
        #expect(machine.timePassed(now: .zero) == .wake(at: limit))
        #expect(machine.timePassed(now: limit - .nanoseconds(1)) == .wake(at: limit))
        machine.bytesReceived(now: .milliseconds(1))
        #expect(machine.timePassed(now: limit) == .wake(at: limit + .milliseconds(1)))
        #expect(machine.timePassed(now: limit + .milliseconds(1)) == .close(.keepAliveExpired))
        #expect(machine.timePassed(now: limit + .seconds(1)) == .rest)
    }

    @Test func `silence does not count while the server does not read`() {
        var machine = connected(keepAliveSeconds: 10)
        machine.bytesReceived(now: .seconds(4))
        machine.readingPaused(now: .seconds(10))
        machine.readingPaused(now: .seconds(12))
        #expect(machine.timePassed(now: .seconds(100)) == .wake(at: .seconds(115)))
        machine.readingResumed(now: .seconds(100))
        // Six seconds of silence before the pause count, so nine are left.
        #expect(machine.timePassed(now: .seconds(108)) == .wake(at: .seconds(109)))
        #expect(machine.timePassed(now: .seconds(109)) == .close(.keepAliveExpired))
    }

    @Test func `the end of the credential ends the connection`() {
        var machine = connected(keepAliveSeconds: 10, expiresAt: .seconds(12))
        #expect(machine.timePassed(now: .zero) == .wake(at: .seconds(12)))
        machine.bytesReceived(now: .seconds(11))
        #expect(machine.timePassed(now: .seconds(11)) == .wake(at: .seconds(12)))
        #expect(machine.timePassed(now: .seconds(12)) == .close(.credentialExpired))
    }

    @Test func `nothing happens after the end`() {
        var machine = connected()
        machine.connectionLost()
        #expect(!machine.mayDecode)
        #expect(machine.takePacketID(token: 1) == nil)
        #expect(machine.publishReceived(qos: .atLeastOnce, packetID: 1) == .close(.packetBeforeConnect))
        #expect(machine.acknowledgements.count == 0)
    }
}
