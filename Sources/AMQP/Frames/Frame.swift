// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

public import NIOCore

/// One frame, with its body still encoded (AMQP 2.3).
///
///     +--------+------+------+---------+-----------------+------+
///     | SIZE 4 | DOFF | TYPE | CHANNEL | extended header | body |
///     +--------+------+------+---------+-----------------+------+
public struct Frame: Equatable, Sendable {
    /// Whose layer the frame belongs to.
    public enum Kind: UInt8, Sendable {
        /// A performative, or nothing: a heartbeat.
        case amqp = 0
        /// A step of authentication.
        case sasl = 1
    }

    /// Why no frame can be had.
    public enum Failure: Error, Equatable, Sendable {
        /// The size is below that of the smallest frame or the offset of the body beyond the end.
        case malformed
        /// The size is above what was announced.
        case tooLarge(UInt32)
        /// The type is neither AMQP nor SASL.
        case unknownType(UInt8)
    }

    /// The layer.
    public var kind: Kind
    /// The channel; of no meaning in the SASL layer.
    public var channel: UInt16
    /// The performative and payload, sharing memory with the input; empty in a heartbeat.
    public var body: ByteBuffer

    /// The number of bytes before the body of a frame without extended header.
    public static let headerBytes = 8

    /// Consumes a frame from the front of `buffer`.
    ///
    /// - Parameters:
    ///   - buffer: What was received.
    ///   - bytesMax: The largest frame that is accepted.
    /// - Returns: The frame; nil when more bytes are needed.
    /// - Throws: ``Failure`` as soon as the header shows it.
    public static func read(from buffer: inout ByteBuffer, bytesMax: UInt32) throws(Failure) -> Frame? {
        let start = buffer.readerIndex
        guard let size = buffer.getInteger(at: start, as: UInt32.self) else { return nil }
        guard size >= 8 else { throw .malformed }
        guard size <= bytesMax else { throw .tooLarge(size) }
        guard let words = buffer.getInteger(at: start + 4, as: UInt16.self),
            let channel = buffer.getInteger(at: start + 6, as: UInt16.self)
        else { return nil }
        let offset = Int(words >> 8) * 4
        guard offset >= 8, offset <= Int(size) else { throw .malformed }
        guard let kind = Kind(rawValue: UInt8(truncatingIfNeeded: words)) else {
            throw .unknownType(UInt8(truncatingIfNeeded: words))
        }
        guard var body = buffer.readSlice(length: Int(size)) else { return nil }
        body.moveReaderIndex(forwardBy: offset)
        return Frame(kind: kind, channel: channel, body: body)
    }

    /// Appends a frame whose body `body` writes.
    public static func write(
        to buffer: inout ByteBuffer,
        kind: Kind = .amqp,
        channel: UInt16 = 0,
        body: (inout ByteBuffer) -> Void
    ) {
        let start = begin(in: &buffer, kind: kind, channel: channel)
        body(&buffer)
        end(in: &buffer, start: start)
    }

    /// Writes a frame header with an open size; returns where it begins.
    @inline(__always)
    static func begin(in buffer: inout ByteBuffer, kind: Kind, channel: UInt16) -> Int {
        let start = buffer.writerIndex
        buffer.writeMultipleIntegers(UInt32(0), UInt16(0x0200) | UInt16(kind.rawValue), channel)
        return start
    }

    /// Sets the size of the frame that begins at `start` and ends at the end of the buffer.
    @inline(__always)
    static func end(in buffer: inout ByteBuffer, start: Int) {
        buffer.setInteger(UInt32(buffer.writerIndex - start), at: start)
    }
}
