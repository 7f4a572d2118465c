// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

/// Why a connection ends.
public enum SessionEnd: Hashable, Sendable, CustomStringConvertible {
    /// The client said DISCONNECT: the only end that discards the will. [MQTT-3.14.4-3]
    case disconnected
    /// The first packet was not CONNECT. [MQTT-3.1.0-1]
    case packetBeforeConnect
    /// CONNECT on a connection that had one. [MQTT-3.1.0-2]
    case secondConnect
    /// A packet that can't be decoded. [MQTT-4.8.0-1]
    case malformed(MQTTError)
    /// A packet that only servers send, or that belongs to QoS 2.
    case unexpectedPacket(PacketType)
    /// A QoS 2 PUBLISH, which the hub does not take. (docs/wire/mqtt.md 6)
    case exactlyOnceUnsupported
    /// More filters than a connection may hold.
    case subscriptionsExceeded
    /// No accepted CONNECT in time.
    case connectTimedOut
    /// Silence for one and a half times the keep-alive. [MQTT-3.1.2-24]
    case keepAliveExpired
    /// The credential of the connection ended.
    case credentialExpired
    /// CONNECT was refused with a code.
    case refused(Connack.ReturnCode)

    /// Safe to log: shows nothing that the peer sent.
    public var description: String {
        switch self {
        case .disconnected: "client disconnected"
        case .packetBeforeConnect: "first packet is not CONNECT"
        case .secondConnect: "second CONNECT"
        case .malformed(let error): "malformed packet: \(error)"
        case .unexpectedPacket(let type): "unexpected packet: \(type)"
        case .exactlyOnceUnsupported: "QoS 2 PUBLISH"
        case .subscriptionsExceeded: "too many subscriptions"
        case .connectTimedOut: "no CONNECT in time"
        case .keepAliveExpired: "keep-alive expired"
        case .credentialExpired: "credential expired"
        case .refused(let code): "refused: \(code)"
        }
    }
}
