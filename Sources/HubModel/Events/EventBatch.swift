// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

public import NIOCore

/// Where an event is to go: a bit each, of which bit 0 is the built-in endpoint `events`.
public struct EventDestinations: OptionSet, Sendable, Hashable {
    /// The bits, as they stand in a record.
    public let rawValue: UInt32

    /// Makes a set from the bits of a record.
    public init(rawValue: UInt32) {
        self.rawValue = rawValue
    }

    /// The built-in endpoint: only its events take a public sequence number.
    public static let events = EventDestinations(rawValue: 1)
}

/// Events of one partition that are appended together and become durable together.
///
/// `records` is a concatenation of records, each: `UInt32` length of the payload, `UInt32` destination bits, payload;
/// big-endian. What the payload holds is the business of `Hub/Telemetry`. A batch is never divided: its records lie
/// next to each other in one frame, so a payload may refer to an earlier one of its batch.
public struct EventBatch: Sendable {
    /// How many bytes stand before each payload.
    public static let recordHeaderSize = 8

    /// The partition, from 0.
    public let partition: Int
    /// The records, back to back.
    public let records: ByteBuffer
    /// How many records there are.
    public let count: Int
    /// How many of them go to the built-in endpoint.
    public let publicCount: Int

    /// Makes a batch of finished records.
    public init(partition: Int, records: ByteBuffer, count: Int, publicCount: Int) {
        self.partition = partition
        self.records = records
        self.count = count
        self.publicCount = publicCount
    }
}

/// What the log assigned to a batch that it made durable.
public struct EventPosition: Sendable, Hashable {
    /// The public sequence number of the batch's first public event.
    public let firstSequenceNumber: Int64
    /// The offset of the batch's first record.
    public let firstOffset: Int64
    /// When the batch was enqueued, in milliseconds since 1970 UTC.
    public let enqueuedTimeMilliseconds: Int64

    /// Makes a position.
    public init(firstSequenceNumber: Int64, firstOffset: Int64, enqueuedTimeMilliseconds: Int64) {
        self.firstSequenceNumber = firstSequenceNumber
        self.firstOffset = firstOffset
        self.enqueuedTimeMilliseconds = enqueuedTimeMilliseconds
    }
}
