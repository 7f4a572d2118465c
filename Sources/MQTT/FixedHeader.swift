// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

public import NIOCore

/// The first bytes of a packet: type, flags and the length of the rest. (MQTT 2.2)
///
/// ```
/// | type (4 bits) flags (4 bits) | remaining length: 1 to 4 bytes, 7 bits each, least significant first |
/// ```
public struct FixedHeader: Hashable, Sendable {
    /// The largest remaining length that four bytes can say.
    public static let remainingLengthMax = 268_435_455

    /// The type of the packet.
    public var type: PacketType
    /// The low nibble of the first byte.
    public var flags: UInt8
    /// Bytes after this header.
    public var remainingLength: Int
    /// Bytes of this header, 2 to 5.
    public var size: Int

    /// Bytes of the whole packet.
    public var packetSize: Int { size + remainingLength }

    /// Reads the header at the reader index without consuming it.
    ///
    /// - Parameters:
    ///   - buffer: bytes that start with a packet.
    ///   - packetSizeMax: the limit, enforced as soon as the header says the length, before anything is buffered.
    /// - Returns: nil while the header is incomplete.
    /// - Throws: what makes the packet unacceptable already.
    public static func peek(at buffer: ByteBuffer, packetSizeMax: Int) throws(MQTTError) -> FixedHeader? {
        let start = buffer.readerIndex
        guard let first = buffer.getInteger(at: start, as: UInt8.self) else { return nil }
        guard let type = PacketType(rawValue: first >> 4) else { throw .packetTypeReserved }
        let flags = first & 0x0F
        if let prescribed = type.flags {
            // [MQTT-2.2.2-2], [MQTT-3.6.1-1], [MQTT-3.8.1-1], [MQTT-3.10.1-1]
            guard flags == prescribed else { throw .flagsReserved }
        } else {
            // [MQTT-3.3.1-4]
            guard flags & 0b0110 != 0b0110 else { throw .qosInvalid }
            // [MQTT-3.3.1-2]
            guard flags & 0b1110 != 0b1000 else { throw .duplicateAtMostOnce }
        }
        var length = 0
        var shift = 0
        while true {
            // MQTT 2.2.3: at most four bytes.
            guard shift < 28 else { throw .remainingLengthMalformed }
            let index = start + 1 + shift / 7
            guard let byte = buffer.getInteger(at: index, as: UInt8.self) else { return nil }
            length |= Int(byte & 0x7F) << shift
            shift += 7
            if byte & 0x80 == 0 { break }
        }
        let header = FixedHeader(type: type, flags: flags, remainingLength: length, size: 1 + shift / 7)
        guard header.packetSize <= packetSizeMax else { throw .packetTooLarge }
        return header
    }
}

extension ByteBuffer {
    /// Writes a fixed header in the shortest form.
    mutating func writeFixedHeader(
        _ type: PacketType,
        flags: UInt8? = nil,
        remainingLength: Int
    ) throws(MQTTError) {
        guard remainingLength <= FixedHeader.remainingLengthMax else { throw .valueTooLong }
        writeInteger(type.rawValue << 4 | (flags ?? type.flags ?? 0))
        var rest = remainingLength
        repeat {
            let byte = UInt8(truncatingIfNeeded: rest & 0x7F)
            rest >>= 7
            writeInteger(rest > 0 ? byte | 0x80 : byte)
        } while rest > 0
    }
}
