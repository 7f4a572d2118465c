// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

public import NIOCore

/// One stored event: where its pieces lie in the records of its frame, all in AMQP 1.0 encoding.
///
/// Layout of a record's payload, big-endian (docs/storage-format.md#events):
///
///     UInt8  format version, 1            UInt32 distance back to the stamp, 0: it stands in this record
///     UInt8  reserved, 0                  UInt32 bytes of the stamp
///     UInt16 pairs in the stamp           UInt32 bytes of application-property entries
///     UInt16 pairs of own annotations     UInt32 bytes of own annotation entries
///     UInt16 application properties       UInt32 bytes of the properties section
///                                         UInt32 bytes of the body
///     application-property entries | stamp, if it stands here | own annotation entries | properties section | body
///
/// The **stamp** is the annotation entries that say who sent the event. They are the same for all events of one batch
/// of one connection, so only the first event of a batch holds them and the others point back to it: a batch of
/// sixteen small messages takes half the bytes it would take otherwise.
public struct EventRecord {
    /// How many bytes stand before the pieces.
    static let headerSize = 32
    static let formatVersion: UInt8 = 1

    /// A run of bytes in the records of the frame.
    public struct Piece: Hashable, Sendable {
        /// The index of the first byte, as `ByteBuffer.getSlice(at:length:)` takes it.
        public var start: Int
        /// How many bytes there are.
        public var count: Int
    }

    /// Annotation entries that say who sent it.
    public let stamp: Piece
    /// How many key-value pairs the stamp holds.
    public let stampPairs: Int
    /// Annotation entries of this event alone.
    public let ownAnnotations: Piece
    /// How many key-value pairs those are.
    public let ownAnnotationPairs: Int
    /// The properties section, descriptor included; empty where the event has none.
    public let properties: Piece
    /// Application-property entries, without a map header.
    public let applicationProperties: Piece
    /// How many key-value pairs those are.
    public let applicationPropertyCount: Int
    /// The body's bytes, without a section header.
    public let body: Piece

    /// Finds the pieces of the record whose payload begins at `start`; nil where the payload is not one of this format.
    public init?(in records: ByteBuffer, payloadAt start: Int, count: Int) {
        guard count >= Self.headerSize,
            let head = records.getMultipleIntegers(
                at: start,
                as: (UInt8, UInt8, UInt16, UInt16, UInt16, UInt32, UInt32, UInt32, UInt32, UInt32, UInt32).self
            ),
            head.0 == Self.formatVersion
        else { return nil }
        let stampBack = Int(head.5)
        let stampSize = Int(head.6)
        var next = start + Self.headerSize
        func take(_ size: Int) -> Piece {
            defer { next += size }
            return Piece(start: next, count: size)
        }
        applicationProperties = take(Int(head.7))
        stamp = stampBack == 0 ? take(stampSize) : Piece(start: start - stampBack, count: stampSize)
        ownAnnotations = take(Int(head.8))
        properties = take(Int(head.9))
        body = take(Int(head.10))
        stampPairs = Int(head.2)
        ownAnnotationPairs = Int(head.3)
        applicationPropertyCount = Int(head.4)
        guard next <= start + count, stamp.start >= records.readerIndex else { return nil }
    }
}

extension ByteBuffer {
    fileprivate func getMultipleIntegers(
        at index: Int,
        as: (UInt8, UInt8, UInt16, UInt16, UInt16, UInt32, UInt32, UInt32, UInt32, UInt32, UInt32).Type
    ) -> (UInt8, UInt8, UInt16, UInt16, UInt16, UInt32, UInt32, UInt32, UInt32, UInt32, UInt32)? {
        guard index >= readerIndex, index + EventRecord.headerSize <= writerIndex else { return nil }
        return withUnsafeReadableBytes { bytes in
            let at = index - readerIndex
            func half(_ offset: Int) -> UInt16 {
                UInt16(bigEndian: bytes.loadUnaligned(fromByteOffset: at + offset, as: UInt16.self))
            }
            func word(_ offset: Int) -> UInt32 {
                UInt32(bigEndian: bytes.loadUnaligned(fromByteOffset: at + offset, as: UInt32.self))
            }
            return (
                bytes[at], bytes[at + 1], half(2), half(4), half(6),
                word(8), word(12), word(16), word(20), word(24), word(28)
            )
        }
    }
}
