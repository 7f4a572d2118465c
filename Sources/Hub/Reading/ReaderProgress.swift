// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import Synchronization

/// How far a reader has come; written by its connection once per batch, read by whoever shows metrics.
public final class ReaderProgress: Sendable {
    private let sequenceNumber = Atomic<Int64>(-1)

    /// A reader that has been sent nothing.
    public init() {}

    /// The sequence number of the last event that the reader was sent, or that it began after.
    public var lastSequenceNumber: Int64 { sequenceNumber.load(ordering: .relaxed) }

    /// Notes that the reader has everything up to an event.
    public func reached(_ number: Int64) { sequenceNumber.store(number, ordering: .relaxed) }
}
