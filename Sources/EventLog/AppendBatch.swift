// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

public import NIOCore

/// Which endpoints an event goes to, one bit each.
///
/// Bit 0 is the built-in endpoint `events`: only its events take a public sequence number.
public struct DestinationSet: OptionSet, Sendable, Hashable {
    /// The bits.
    public let rawValue: UInt32

    /// Makes a set from bits.
    public init(rawValue: UInt32) { self.rawValue = rawValue }

    /// The built-in endpoint.
    public static let events = DestinationSet(rawValue: 1)
}

/// Events for one partition, appended together: all become durable with one sync, or none is acknowledged.
///
/// The events lie one after another as records, in the form that the journal stores and readers get:
/// `UInt32 payload length | UInt32 destination bits | payload`, big-endian. A batch is never divided: it is read as it was
/// appended, in one frame.
public struct AppendBatch: Sendable {
    /// Bytes that a record has in front of its payload.
    public static let recordHeaderBytes = 8

    /// The partition that takes the events.
    public let partition: Int
    /// The records.
    public private(set) var records: ByteBuffer
    /// How many events there are.
    public private(set) var count = 0
    /// How many of them are for the built-in endpoint.
    public private(set) var publicCount = 0
    /// Makes an empty batch with room for so many bytes.
    public init(partition: Int, capacity: Int = 0, allocator: ByteBufferAllocator = ByteBufferAllocator()) {
        self.partition = partition
        self.records = allocator.buffer(capacity: capacity)
    }

    /// Takes records that are in that form already, without a copy.
    public init(partition: Int, records: ByteBuffer, count: Int, publicCount: Int) {
        self.partition = partition
        self.records = records
        self.count = count
        self.publicCount = publicCount
    }

    /// Size in bytes, which the log compares with its limit for batches.
    public var bytes: Int { records.readableBytes }

    /// Adds an event with a payload that exists already.
    public mutating func append(_ payload: ByteBuffer, destinations: DestinationSet = .events) {
        count += 1
        if destinations.contains(.events) { publicCount += 1 }
        records.writeMultipleIntegers(UInt32(payload.readableBytes), destinations.rawValue)
        records.writeImmutableBuffer(payload)
    }
}

/// Where the events of an acknowledged batch are.
public struct AppendResult: Sendable, Equatable {
    /// Public sequence number of the first event for the built-in endpoint; those after it follow without gaps.
    public var firstSequence: Int64
    /// Offset of the first event.
    public var firstOffset: Int64
    /// Enqueued time of all of them, milliseconds since 1970.
    public var enqueuedMilliseconds: Int64

    /// Makes a result.
    public init(firstSequence: Int64, firstOffset: Int64, enqueuedMilliseconds: Int64) {
        self.firstSequence = firstSequence
        self.firstOffset = firstOffset
        self.enqueuedMilliseconds = enqueuedMilliseconds
    }
}
