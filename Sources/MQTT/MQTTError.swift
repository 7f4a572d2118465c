// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

/// What is wrong with a packet, so that it can't be decoded or encoded.
///
/// Trivial on purpose: throwing one allocates nothing, and its description never shows what the peer sent.
public enum MQTTError: Error, Hashable, Sendable {
    /// The remaining length takes more than four bytes.
    case remainingLengthMalformed
    /// The fixed header announces a packet over the limit.
    case packetTooLarge
    /// Packet type 0 or 15.
    case packetTypeReserved
    /// The flags of the fixed header are not the ones that the packet type prescribes.
    case flagsReserved
    /// A QoS of 3.
    case qosInvalid
    /// DUP on a QoS 0 PUBLISH.
    case duplicateAtMostOnce
    /// A field ends after the packet does.
    case fieldTruncated
    /// Bytes are left over after the last field.
    case trailingBytes
    /// A string is not well-formed UTF-8, or holds U+0000.
    case stringInvalid
    /// Packet id 0 where one is needed.
    case packetIDZero
    /// A topic name that is empty or holds a wildcard.
    case topicNameInvalid
    /// A topic filter that is empty or has a wildcard at the wrong place.
    case topicFilterInvalid
    /// SUBSCRIBE or UNSUBSCRIBE without a filter, or SUBACK without a return code.
    case listEmpty
    /// More filters in one packet than the limit.
    case listTooLong
    /// The protocol name of CONNECT is not MQTT's.
    case protocolNameInvalid
    /// The protocol is MQTT, but not level 4: the server answers CONNACK 1.
    case protocolLevelUnacceptable
    /// The connect flags contradict each other or set the reserved bit.
    case connectFlagsInvalid
    /// Reserved bits, or a return code that does not exist.
    case returnCodeInvalid
    /// A string over 65,535 bytes or a packet over 268,435,455 can't be encoded.
    case valueTooLong
}
