// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

/// The type of a packet: the high nibble of its first byte. (MQTT 2.2.1)
public enum PacketType: UInt8, Hashable, Sendable, CaseIterable {
    /// Client asks to connect.
    case connect = 1
    /// Answer to CONNECT.
    case connack = 2
    /// A message, either way.
    case publish = 3
    /// Answer to a QoS 1 PUBLISH.
    case puback = 4
    /// First answer to a QoS 2 PUBLISH.
    case pubrec = 5
    /// Second step of QoS 2.
    case pubrel = 6
    /// Last step of QoS 2.
    case pubcomp = 7
    /// Client asks for topics.
    case subscribe = 8
    /// Answer to SUBSCRIBE.
    case suback = 9
    /// Client gives up topics.
    case unsubscribe = 10
    /// Answer to UNSUBSCRIBE.
    case unsuback = 11
    /// Client shows that it lives.
    case pingreq = 12
    /// Answer to PINGREQ.
    case pingresp = 13
    /// Client says goodbye.
    case disconnect = 14

    /// The flags that this type must carry, nil for PUBLISH whose flags mean something. [MQTT-2.2.2-1]
    var flags: UInt8? {
        switch self {
        case .publish: nil
        case .pubrel, .subscribe, .unsubscribe: 0b0010
        default: 0
        }
    }
}
