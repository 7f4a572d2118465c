// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

/// What queues of commands may hold, and how long (docs/wire/amqp.md#commands).
public struct CommandLimits: Sendable, Hashable {
    /// The longest id of a message, in characters.
    public static let messageIDLengthMax = 128

    /// The largest command in bytes, counted as ``CommandMessage/size``.
    public var messageSizeMax = 65_536
    /// How many commands may wait for one device, those that are locked included.
    public var queueDepthMax = 50
    /// How often a device may give a command back before it ends.
    public var deliveriesMax = 10
    /// How long a command waits whose sender named no expiry, in seconds.
    public var defaultTTLSeconds = 3_600
    /// How far ahead an expiry may be, in seconds.
    public var ttlSecondsMax = 172_800
    /// How long a device may take to settle a command before it comes again, in seconds.
    public var lockSeconds = 60
    /// How often the queues are looked through for what is over, in milliseconds.
    public var sweepMilliseconds = 1_000
    /// How many commands one such step ends or unlocks at most.
    public var sweepStepMax = 1_000
    /// What the queue of feedback may hold, and how long.
    public var feedback = FeedbackLimits()

    /// Azure's limits.
    public init() {}
}

/// What the queue of feedback may hold, and how long (docs/wire/amqp.md#feedback).
public struct FeedbackLimits: Sendable, Hashable {
    /// How long a record waits for a reader, in seconds.
    public var ttlSeconds = 3_600
    /// How long a reader may take to settle a batch before it comes again, in seconds.
    public var lockSeconds = 60
    /// How often a reader may give a record back before it is dropped.
    public var deliveriesMax = 10
    /// How many records one message holds at most.
    public var batchMax = 64
    /// How long a record waits for others to fill its message, in milliseconds; Azure takes up to 15 seconds.
    public var delayMilliseconds = 1_000
    /// How many records wait for readers at most; beyond, the oldest are dropped.
    public var recordsMax = 1_000_000

    /// The defaults.
    public init() {}
}
