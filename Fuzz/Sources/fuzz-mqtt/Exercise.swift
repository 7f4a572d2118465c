// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import MQTT
import NIOCore

/// Feeds bytes to the decoder and the session rules as a connection would, and checks what must always hold.
///
/// The first byte decides how much of the handshake has happened. Shared by the fuzzer and the test that replays its finds.
func exerciseMQTT(_ bytes: [UInt8]) {
    let limits = MQTTLimits()
    var buffer = ByteBuffer(bytes: bytes)
    var machine = SessionMachine(limits: limits, now: .zero)
    if let first = bytes.first, first & 0xF0 != 0x10 {
        _ = machine.connectReceived()
        precondition(machine.accept(Connect(clientID: "d"), stored: SubscriptionSet(), expiresAt: nil, now: .zero))
    }
    do {
        while !machine.hasEnded, let packet = try Packet.decode(from: &buffer, limits: limits) {
            checkRoundTrip(packet, limits: limits)
            feed(packet, to: &machine)
        }
    } catch {
        _ = machine.malformedReceived(error)
        precondition(machine.hasEnded, "a malformed packet ends the connection")
    }
    let owed = machine.acknowledgements.count
    machine.acknowledgements.complete(first: 0, count: owed)
    var out = ByteBuffer()
    precondition(machine.acknowledgements.drain(into: &out) == owed, "every acknowledgement leaves")
    do {
        while try Packet.decode(from: &out, limits: limits) != nil {}
    } catch {
        preconditionFailure("the server sends malformed packets: \(error)")
    }
    precondition(out.readableBytes == 0, "the server sends whole packets")
}

private func checkRoundTrip(_ packet: Packet, limits: MQTTLimits) {
    var encoded = ByteBuffer()
    do {
        try packet.encode(into: &encoded)
        let again = try Packet.decode(from: &encoded, limits: limits)
        precondition(again == packet, "a decoded packet survives a round trip")
    } catch {
        preconditionFailure("a decoded packet can't be encoded: \(error)")
    }
    precondition(encoded.readableBytes == 0, "a packet is one packet")
}

private func feed(_ packet: Packet, to machine: inout SessionMachine) {
    switch packet {
    case .connect(let connect):
        guard machine.connectReceived() == .authenticate else { return }
        _ = machine.accept(connect, stored: SubscriptionSet(), expiresAt: nil, now: .zero)
    case .publish(let publish): _ = machine.publishReceived(qos: publish.qos, packetID: publish.packetID)
    case .puback(let puback): _ = machine.pubackReceived(packetID: puback.packetID)
    case .subscribe(let subscribe): _ = machine.subscribeReceived(subscribe)
    case .unsubscribe(let unsubscribe): _ = machine.unsubscribeReceived(unsubscribe)
    case .pingreq: _ = machine.pingreqReceived()
    case .disconnect: _ = machine.disconnectReceived()
    case .connack, .pubrec, .pubrel, .pubcomp, .suback, .unsuback, .pingresp:
        _ = machine.unexpectedReceived(packet.type)
    }
}
