// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

public import NIOCore

/// Any of the fourteen packets of MQTT 3.1.1.
public enum Packet: Equatable, Sendable {
    /// Client asks to connect; boxed, for it is the only large one.
    indirect case connect(Connect)
    /// Answer to CONNECT.
    case connack(Connack)
    /// A message.
    case publish(Publish)
    /// Answer to a QoS 1 PUBLISH.
    case puback(Puback)
    /// First answer to a QoS 2 PUBLISH.
    case pubrec(Pubrec)
    /// Second step of QoS 2.
    case pubrel(Pubrel)
    /// Last step of QoS 2.
    case pubcomp(Pubcomp)
    /// Client asks for topics.
    case subscribe(Subscribe)
    /// Answer to SUBSCRIBE.
    case suback(Suback)
    /// Client gives up topics.
    case unsubscribe(Unsubscribe)
    /// Answer to UNSUBSCRIBE.
    case unsuback(Unsuback)
    /// Client shows that it lives.
    case pingreq
    /// Answer to PINGREQ.
    case pingresp
    /// Client says goodbye.
    case disconnect

    /// The type of this packet.
    public var type: PacketType {
        switch self {
        case .connect: .connect
        case .connack: .connack
        case .publish: .publish
        case .puback: .puback
        case .pubrec: .pubrec
        case .pubrel: .pubrel
        case .pubcomp: .pubcomp
        case .subscribe: .subscribe
        case .suback: .suback
        case .unsubscribe: .unsubscribe
        case .unsuback: .unsuback
        case .pingreq: .pingreq
        case .pingresp: .pingresp
        case .disconnect: .disconnect
        }
    }

    /// Takes the next packet off a buffer.
    ///
    /// - Parameters:
    ///   - buffer: received bytes; consumed only when a whole packet is there.
    ///   - limits: packet size and list lengths.
    /// - Returns: nil while the packet is incomplete.
    /// - Throws: what is wrong; the connection is of no use after that.
    public static func decode(from buffer: inout ByteBuffer, limits: MQTTLimits) throws(MQTTError) -> Packet? {
        guard let header = try FixedHeader.peek(at: buffer, packetSizeMax: limits.packetSizeMax) else { return nil }
        guard buffer.readableBytes >= header.packetSize else { return nil }
        return try decode(header, from: &buffer, limits: limits)
    }

    /// Takes a packet whose header was peeked, and which is wholly there, off a buffer.
    ///
    /// - Parameters:
    ///   - header: what was peeked.
    ///   - buffer: begins with the packet.
    ///   - limits: lengths of lists.
    ///   - toleratesWildcards: leaves it to the caller where a topic name or filter may hold a `+` or a `#`.
    /// - Returns: the packet.
    /// - Throws: what is wrong with it, `fieldTruncated` too if it is not wholly there.
    public static func decode(
        _ header: FixedHeader,
        from buffer: inout ByteBuffer,
        limits: MQTTLimits,
        toleratesWildcards: Bool = false
    ) throws(MQTTError) -> Packet {
        if header.type == .publish {
            return .publish(try Publish.decode(header, from: &buffer, toleratesWildcards: toleratesWildcards))
        }
        guard var body = buffer.readSlice(length: header.packetSize) else { throw .fieldTruncated }
        body.moveReaderIndex(forwardBy: header.size)
        let packet: Packet
        switch header.type {
        case .connect: packet = .connect(try Connect.decode(body: &body, toleratesWildcards: toleratesWildcards))
        case .connack: packet = .connack(try Connack.decode(body: &body))
        case .publish: throw .flagsReserved  // Taken above.
        case .puback: packet = .puback(try Puback.decode(body: &body))
        case .pubrec: packet = .pubrec(try Pubrec.decode(body: &body))
        case .pubrel: packet = .pubrel(try Pubrel.decode(body: &body))
        case .pubcomp: packet = .pubcomp(try Pubcomp.decode(body: &body))
        case .subscribe:
            packet = .subscribe(
                try Subscribe.decode(body: &body, limits: limits, toleratesWildcards: toleratesWildcards)
            )
        case .suback: packet = .suback(try Suback.decode(body: &body))
        case .unsubscribe:
            packet = .unsubscribe(
                try Unsubscribe.decode(body: &body, limits: limits, toleratesWildcards: toleratesWildcards)
            )
        case .unsuback: packet = .unsuback(try Unsuback.decode(body: &body))
        case .pingreq: packet = .pingreq
        case .pingresp: packet = .pingresp
        case .disconnect: packet = .disconnect
        }
        try body.expectEnd()
        return packet
    }

    /// Appends this packet to a buffer.
    ///
    /// - Throws: `valueTooLong` and the errors of values that must not be sent; the buffer is then of no use.
    public func encode(into buffer: inout ByteBuffer) throws(MQTTError) {
        switch self {
        case .connect(let packet): try packet.encode(into: &buffer)
        case .connack(let packet): packet.encode(into: &buffer)
        case .publish(let packet): try packet.encode(into: &buffer)
        case .puback(let packet): packet.encode(into: &buffer)
        case .pubrec(let packet): packet.encode(into: &buffer)
        case .pubrel(let packet): packet.encode(into: &buffer)
        case .pubcomp(let packet): packet.encode(into: &buffer)
        case .subscribe(let packet): try packet.encode(into: &buffer)
        case .suback(let packet): try packet.encode(into: &buffer)
        case .unsubscribe(let packet): try packet.encode(into: &buffer)
        case .unsuback(let packet): packet.encode(into: &buffer)
        case .pingreq: Pingreq.encode(into: &buffer)
        case .pingresp: Pingresp.encode(into: &buffer)
        case .disconnect: Disconnect.encode(into: &buffer)
        }
    }
}
