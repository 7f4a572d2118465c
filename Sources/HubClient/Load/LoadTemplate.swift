// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import MQTT
public import NIOCore

/// The body of a load message: JSON that carries when it was written, so that a reader with the same clock can tell
/// how long it took.
public enum LoadBody {
    /// What comes before the 16 hexadecimal digits of the time.
    public static let head = #"{"sentNanoseconds":""#
    private static let middle = #"","filler":""#
    private static let tail = #""}"#
    /// The fewest bytes in which the time has room.
    public static let bytesMin = Self.head.utf8.count + 16 + Self.middle.utf8.count + Self.tail.utf8.count

    /// A body of that many bytes whose time is 0; smaller ones than ``bytesMin`` have no time.
    static func make(bytes: Int) -> [UInt8] {
        guard bytes >= Self.bytesMin else { return Array(repeating: UInt8(ascii: "0"), count: bytes) }
        let filler = String(repeating: "x", count: bytes - Self.bytesMin)
        return Array("\(Self.head)\(String(repeating: "0", count: 16))\(Self.middle)\(filler)\(Self.tail)".utf8)
    }

    /// The time in a body, or nil when it is not the body of a load message.
    ///
    /// - Parameter body: the whole body of an event.
    /// - Returns: nanoseconds on the monotonic clock of the machine that wrote it.
    public static func sentNanoseconds(in body: ByteBufferView) -> UInt64? {
        let head = Self.head.utf8
        guard body.count >= Self.bytesMin, body.starts(with: head) else { return nil }
        var value: UInt64 = 0
        for byte in body.dropFirst(head.count).prefix(16) {
            switch byte {
            case UInt8(ascii: "0")...UInt8(ascii: "9"): value = value << 4 | UInt64(byte - UInt8(ascii: "0"))
            case UInt8(ascii: "a")...UInt8(ascii: "f"): value = value << 4 | UInt64(byte - UInt8(ascii: "a") + 10)
            default: return nil
            }
        }
        return value
    }

    /// The 16 digits of a time as they stand in memory, in two halves.
    static func digits(of nanoseconds: UInt64) -> (UInt64, UInt64) {
        (
            Self.spread(UInt32(truncatingIfNeeded: nanoseconds >> 32)),
            Self.spread(UInt32(truncatingIfNeeded: nanoseconds))
        )
    }

    /// Eight hexadecimal digits in one big-endian word.
    private static func spread(_ value: UInt32) -> UInt64 {
        var word = UInt64(value)
        word = (word | word << 16) & 0x0000_FFFF_0000_FFFF
        word = (word | word << 8) & 0x00FF_00FF_00FF_00FF
        word = (word | word << 4) & 0x0F0F_0F0F_0F0F_0F0F
        // A nibble above 9 carries into its high half when 6 is added: there the letter's distance is added.
        let letters = ((word + 0x0606_0606_0606_0606) >> 4) & 0x0101_0101_0101_0101
        return word + 0x3030_3030_3030_3030 + letters * 0x27
    }
}

/// A run of PUBLISH packets of one device, encoded once: only packet ids and times are written before each use.
struct LoadTemplate {
    private var packets: ByteBuffer
    private let packetBytes: Int
    private let idOffset: Int?
    private let timeOffset: Int?
    /// How many packets the run has.
    let capacity: Int

    /// Encodes the run.
    ///
    /// - Throws: `MQTTError` when the topic is too long.
    init(topic: String, isAcknowledged: Bool, bodyBytes: Int, capacity: Int) throws(MQTTError) {
        let body = LoadBody.make(bytes: bodyBytes)
        let publish = Publish(
            topic: ByteBuffer(string: topic),
            payload: ByteBuffer(bytes: body),
            qos: isAcknowledged ? .atLeastOnce : .atMostOnce,
            packetID: isAcknowledged ? 1 : 0
        )
        var packet = ByteBuffer()
        try publish.encode(into: &packet)
        self.packetBytes = packet.readableBytes
        self.idOffset = isAcknowledged ? packet.readableBytes - body.count - 2 : nil
        self.timeOffset =
            bodyBytes >= LoadBody.bytesMin ? packet.readableBytes - body.count + LoadBody.head.utf8.count : nil
        self.capacity = capacity
        var packets = ByteBuffer()
        packets.reserveCapacity(packet.readableBytes * capacity)
        for _ in 0..<capacity {
            packets.writeImmutableBuffer(packet)
        }
        self.packets = packets
    }

    /// The first packets of the run, with ids from `firstID` on and the time; ids wrap from 65,535 to 1.
    ///
    /// - Parameters:
    ///   - count: at most ``capacity``.
    ///   - firstID: the packet id of the first; ignored at QoS 0.
    ///   - nanoseconds: the time that the bodies carry.
    /// - Returns: bytes that stay as they are while the next run is made.
    mutating func run(count: Int, firstID: UInt16, nanoseconds: UInt64) -> ByteBuffer {
        precondition(count <= self.capacity, "\(count) packets of \(self.capacity)")
        let digits = LoadBody.digits(of: nanoseconds)
        let (idOffset, timeOffset, packetBytes) = (self.idOffset, self.timeOffset, self.packetBytes)
        // One look at the buffer for all packets: this is where the generator spends its time.
        self.packets.withUnsafeMutableReadableBytes { bytes in
            var id = firstID
            for start in stride(from: 0, to: count * packetBytes, by: packetBytes) {
                if let idOffset {
                    bytes.storeBytes(of: id.bigEndian, toByteOffset: start + idOffset, as: UInt16.self)
                    id = id == .max ? 1 : id + 1
                }
                if let timeOffset {
                    bytes.storeBytes(of: digits.0.bigEndian, toByteOffset: start + timeOffset, as: UInt64.self)
                    bytes.storeBytes(of: digits.1.bigEndian, toByteOffset: start + timeOffset + 8, as: UInt64.self)
                }
            }
        }
        let length = count * self.packetBytes
        guard let bytes = self.packets.getSlice(at: 0, length: length) else {
            preconditionFailure("\(length) bytes of \(self.packets.readableBytes)")
        }
        return bytes
    }
}
