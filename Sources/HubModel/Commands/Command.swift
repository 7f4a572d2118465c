// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

public import NIOCore

/// A command in the queue of its device.
public struct Command: Sendable, Hashable {
    /// Whose queue.
    public var device: String
    /// Its place in the order of the queue; rises with every command of the hub's life.
    public var sequenceNumber: Int64
    /// When the hub took it, in milliseconds since 1970 UTC.
    public var enqueuedMilliseconds: Int64
    /// When it ends, in milliseconds since 1970 UTC.
    public var expiresMilliseconds: Int64
    /// How often the device gave it back.
    public var deliveryCount: Int
    /// What was sent.
    public var message: CommandMessage

    /// Makes a command.
    public init(
        device: String,
        sequenceNumber: Int64,
        enqueuedMilliseconds: Int64,
        expiresMilliseconds: Int64,
        deliveryCount: Int,
        message: CommandMessage
    ) {
        self.device = device
        self.sequenceNumber = sequenceNumber
        self.enqueuedMilliseconds = enqueuedMilliseconds
        self.expiresMilliseconds = expiresMilliseconds
        self.deliveryCount = deliveryCount
        self.message = message
    }
}

/// Proves that its holder has a message locked: 16 random bytes.
public struct LockToken: Sendable, Hashable {
    /// The bytes in the order of the UUID's text.
    public let bytes: [UInt8]

    /// Makes a token that nobody else has.
    public init() {
        var generator = SystemRandomNumberGenerator()
        var bytes = withUnsafeBytes(of: (generator.next(), generator.next()), Array.init)
        bytes[6] = bytes[6] & 0x0F | 0x40
        bytes[8] = bytes[8] & 0x3F | 0x80
        self.bytes = bytes
    }

    /// Takes stored bytes; nil where there are not 16.
    public init?(bytes: some Sequence<UInt8>) {
        let bytes = Array(bytes)
        guard bytes.count == 16 else { return nil }
        self.bytes = bytes
    }

    /// Takes a delivery tag, whose first three groups are little-endian as in .NET; nil where it has not 16 bytes.
    public init?(deliveryTag: ByteBuffer) {
        self.init(bytes: Self.swapped(Array(deliveryTag.readableBytesView)))
    }

    /// The token as a delivery tag, in .NET's order of bytes.
    public var deliveryTag: ByteBuffer { ByteBuffer(bytes: Self.swapped(self.bytes)) }

    /// The token as text, `xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx`.
    public var text: String {
        let digits = Array("0123456789abcdef".utf8)
        var text: [UInt8] = []
        for (index, byte) in self.bytes.enumerated() {
            if [4, 6, 8, 10].contains(index) { text.append(UInt8(ascii: "-")) }
            text.append(digits[Int(byte >> 4)])
            text.append(digits[Int(byte & 15)])
        }
        return String(decoding: text, as: UTF8.self)
    }

    private static func swapped(_ bytes: [UInt8]) -> [UInt8] {
        guard bytes.count == 16 else { return bytes }
        return [3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15].map { bytes[$0] }
    }
}

/// A command that a connection has locked.
public struct LockedCommand: Sendable, Hashable {
    /// What it is settled with.
    public var token: LockToken
    /// The command.
    public var command: Command
    /// Whether it was locked before, so that the device may know it already.
    public var isRedelivery: Bool

    /// Puts the parts together.
    public init(token: LockToken, command: Command, isRedelivery: Bool = false) {
        self.token = token
        self.command = command
        self.isRedelivery = isRedelivery
    }
}

/// What became of a locked message.
public enum CommandOutcome: String, Sendable, Hashable, CaseIterable {
    /// It was taken; it leaves the queue.
    case completed
    /// It was refused for good; it leaves the queue.
    case rejected
    /// It was given back; it is counted, and comes again until the limit is reached.
    case abandoned
    /// It could not be sent, or the hub stopped before it was settled; it comes again and is not counted.
    case released
    /// Its connection ended before it was settled; it is counted where its lock holds until its expiry, for a device
    /// that fails at it would get it again for ever, and comes again.
    case lost
}
