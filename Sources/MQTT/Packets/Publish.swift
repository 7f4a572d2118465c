// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

public import NIOCore

/// A message, either way. (MQTT 3.3)
///
/// Topic and payload are slices of what was read: decoding copies and allocates nothing. Whoever keeps one keeps the whole
/// read buffer alive, so what outlives the read is copied out.
public struct Publish: Equatable, Sendable {
    /// The topic name: not empty, well-formed UTF-8, no wildcard.
    public var topic: ByteBuffer
    /// The message, of any content, possibly empty.
    public var payload: ByteBuffer
    /// The packet id, 0 at QoS 0.
    public var packetID: UInt16
    /// How it is acknowledged.
    public var qos: QoS
    /// Asks a broker to keep the message.
    public var retain: Bool
    /// Sent before.
    public var duplicate: Bool

    /// A message to be sent; its packet id is not 0 if its QoS is not.
    public init(
        topic: ByteBuffer,
        payload: ByteBuffer,
        qos: QoS = .atMostOnce,
        packetID: UInt16 = 0,
        retain: Bool = false,
        duplicate: Bool = false
    ) {
        self.topic = topic
        self.payload = payload
        self.packetID = packetID
        self.qos = qos
        self.retain = retain
        self.duplicate = duplicate
    }

    /// Takes a PUBLISH whose header was peeked, and which is wholly there, off a buffer: the fast path.
    ///
    /// - Parameters:
    ///   - header: what was peeked.
    ///   - buffer: begins with the packet.
    ///   - toleratesWildcards: leaves it to the caller whether the topic name may hold a `+` or a `#`.
    /// - Returns: the message, its topic and payload as slices of the buffer.
    /// - Throws: what is wrong with it.
    public static func decode(
        _ header: FixedHeader,
        from buffer: inout ByteBuffer,
        toleratesWildcards: Bool = false
    ) throws(MQTTError) -> Publish {
        let end = buffer.readerIndex + header.packetSize
        guard end <= buffer.writerIndex else { throw .fieldTruncated }
        buffer.moveReaderIndex(forwardBy: header.size)
        guard let topicSize = buffer.readInteger(as: UInt16.self).map(Int.init),
            buffer.readerIndex + topicSize <= end,
            let topic = buffer.readSlice(length: topicSize)
        else { throw .fieldTruncated }
        switch topic.checkString() {
        case .plain: break
        case .wildcard: guard toleratesWildcards else { throw .topicNameInvalid }  // [MQTT-3.3.2-2]
        case .invalid: throw .stringInvalid  // [MQTT-3.3.2-1]
        }
        guard topicSize > 0 else { throw .topicNameInvalid }  // [MQTT-4.7.3-1]
        guard let qos = QoS(rawValue: (header.flags >> 1) & 0b11) else { throw .qosInvalid }  // [MQTT-3.3.1-4]
        var packetID: UInt16 = 0
        if qos != .atMostOnce {
            guard buffer.readerIndex + 2 <= end else { throw .fieldTruncated }
            packetID = try buffer.readPacketID()
        }
        guard let payload = buffer.readSlice(length: end - buffer.readerIndex) else { throw .fieldTruncated }
        return Publish(
            topic: topic,
            payload: payload,
            qos: qos,
            packetID: packetID,
            retain: header.flags & 0b0001 != 0,
            duplicate: header.flags & 0b1000 != 0
        )
    }

    /// Appends this packet to a buffer.
    ///
    /// - Throws: `valueTooLong`, `packetIDZero`.
    public func encode(into buffer: inout ByteBuffer) throws(MQTTError) {
        let idSize = qos == .atMostOnce ? 0 : 2
        guard idSize == 0 || packetID != 0 else { throw .packetIDZero }
        let flags = (duplicate ? 0b1000 : 0) | qos.rawValue << 1 | (retain ? 1 : 0)
        try buffer.writeFixedHeader(
            .publish,
            flags: flags,
            remainingLength: 2 + topic.readableBytes + idSize + payload.readableBytes
        )
        try buffer.writeField(topic)
        if idSize > 0 { buffer.writeInteger(packetID) }
        buffer.writeImmutableBuffer(payload)
    }
}
