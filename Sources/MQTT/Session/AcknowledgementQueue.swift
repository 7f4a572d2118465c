// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

public import NIOCore

/// The acknowledgements that one connection owes, in the order in which their causes arrived.
///
/// Whatever an entry waits for, the log or the state store, it leaves only after all entries before it. Entries are numbered
/// from 0 without gaps, so a batch of PUBLISHes is a range of numbers. An idle connection holds no memory here.
public struct AcknowledgementQueue {
    private enum Kind: UInt32 {
        case puback = 0
        case suback = 0x1_0000
        case unsuback = 0x2_0000
    }

    private static let done: UInt32 = 0x8000_0000
    private static let kindMask: UInt32 = 0x0F_0000
    /// A larger buffer is given back when the queue runs empty.
    private static let capacityKept = 64

    /// Packet id in the low half, kind above it, the done bit on top.
    private var entries: [UInt32] = []
    private var head = 0
    /// The number of `entries[head]`.
    private var headNumber: UInt64 = 0
    /// Return codes of the SUBACKs in the queue; there is rarely more than one.
    private var returnCodes: [(number: UInt64, codes: [UInt8])] = []

    /// An empty queue.
    public init() {}

    /// How many acknowledgements are owed.
    public var count: Int { entries.count - head }

    /// The number that the next entry will get.
    public var nextNumber: UInt64 { headNumber + UInt64(count) }

    /// Owes a PUBACK.
    public mutating func appendPuback(_ packetID: UInt16) {
        entries.append(Kind.puback.rawValue | UInt32(packetID))
    }

    /// Owes a SUBACK.
    ///
    /// - Returns: the number to complete it with.
    public mutating func appendSuback(_ packetID: UInt16, returnCodes codes: [UInt8]) -> UInt64 {
        let number = nextNumber
        entries.append(Kind.suback.rawValue | UInt32(packetID))
        returnCodes.append((number, codes))
        return number
    }

    /// Owes an UNSUBACK.
    ///
    /// - Returns: the number to complete it with.
    public mutating func appendUnsuback(_ packetID: UInt16) -> UInt64 {
        let number = nextNumber
        entries.append(Kind.unsuback.rawValue | UInt32(packetID))
        return number
    }

    /// Says that what a run of entries waited for is durable.
    ///
    /// - Parameters:
    ///   - first: the number of the first of them; all must be in the queue.
    ///   - count: how many.
    public mutating func complete(first: UInt64, count: Int) {
        precondition(first >= headNumber && first + UInt64(count) <= nextNumber, "completes what is not owed")
        let start = head + Int(first - headNumber)
        for index in start..<(start + count) { entries[index] |= Self.done }
    }

    /// Appends to a buffer every acknowledgement that may leave now.
    ///
    /// - Returns: how many.
    public mutating func drain(into buffer: inout ByteBuffer) -> Int {
        let start = head
        while head < entries.count, entries[head] & Self.done != 0 {
            let entry = entries[head]
            let packetID = UInt16(truncatingIfNeeded: entry)
            switch entry & Self.kindMask {
            case Kind.puback.rawValue: Puback(packetID: packetID).encode(into: &buffer)
            case Kind.unsuback.rawValue: Unsuback(packetID: packetID).encode(into: &buffer)
            default: drainSuback(packetID, number: headNumber + UInt64(head - start), into: &buffer)
            }
            head += 1
        }
        let drained = head - start
        headNumber += UInt64(drained)
        compact()
        return drained
    }

    private mutating func drainSuback(_ packetID: UInt16, number: UInt64, into buffer: inout ByteBuffer) {
        guard let index = returnCodes.firstIndex(where: { $0.number == number }) else {
            preconditionFailure("a SUBACK without return codes")
        }
        let codes = returnCodes.remove(at: index).codes
        // As many codes as filters: at least one, at most `filtersPerPacketMax`, so the length fits one byte or two.
        let size = 2 + codes.count
        buffer.writeInteger(PacketType.suback.rawValue << 4)
        if size < 128 {
            buffer.writeInteger(UInt8(size))
        } else {
            buffer.writeInteger(UInt8(size & 0x7F) | 0x80)
            buffer.writeInteger(UInt8(truncatingIfNeeded: size >> 7))
        }
        buffer.writeInteger(packetID)
        buffer.writeBytes(codes)
    }

    /// Drops what has left: for nothing when the queue is empty, else when it is most of the array.
    private mutating func compact() {
        if head == entries.count {
            entries.removeAll(keepingCapacity: entries.capacity <= Self.capacityKept)
            head = 0
        } else if head >= 32, head * 2 >= entries.count {
            entries.removeFirst(head)
            head = 0
        }
    }
}
