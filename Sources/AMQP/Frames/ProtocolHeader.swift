// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

public import NIOCore

/// The eight bytes with which each layer of a connection begins (AMQP 2.2, 5.3.2).
public enum ProtocolHeader: Equatable, Sendable {
    /// AMQP 1.0.0.
    case amqp
    /// The SASL layer of AMQP 1.0.0.
    case sasl

    /// The number of bytes of a header.
    public static let byteCount = 8

    private static let prefix: UInt32 = 0x414d_5150
    private static let amqpSuffix: UInt32 = 0x0001_0000
    private static let saslSuffix: UInt32 = 0x0301_0000

    /// What the first bytes of a buffer are.
    public enum Peek: Equatable, Sendable {
        /// More bytes are needed.
        case incomplete
        /// A header that is known here; it was consumed.
        case header(ProtocolHeader)
        /// Something else.
        case unknown
    }

    /// Consumes a header from the front of `buffer`.
    public static func read(from buffer: inout ByteBuffer) -> Peek {
        guard buffer.readableBytes >= byteCount else {
            // What cannot become a header any more is refused at once.
            let expected: [UInt8] = [0x41, 0x4d, 0x51, 0x50]
            return buffer.readableBytesView.elementsEqual(expected.prefix(buffer.readableBytes))
                || buffer.readableBytes > 4 ? .incomplete : .unknown
        }
        guard let (first, second) = buffer.getTwo(at: buffer.readerIndex), first == prefix else { return .unknown }
        switch second {
        case amqpSuffix:
            buffer.moveReaderIndex(forwardBy: byteCount)
            return .header(.amqp)
        case saslSuffix:
            buffer.moveReaderIndex(forwardBy: byteCount)
            return .header(.sasl)
        default: return .unknown
        }
    }

    /// Appends the header to `buffer`.
    public func write(to buffer: inout ByteBuffer) {
        buffer.writeMultipleIntegers(Self.prefix, self == .amqp ? Self.amqpSuffix : Self.saslSuffix)
    }
}

extension ByteBuffer {
    fileprivate func getTwo(at index: Int) -> (UInt32, UInt32)? {
        guard let first = getInteger(at: index, as: UInt32.self),
            let second = getInteger(at: index + 4, as: UInt32.self)
        else { return nil }
        return (first, second)
    }
}
