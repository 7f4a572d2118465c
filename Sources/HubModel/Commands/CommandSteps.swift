// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

/// A command to be put into the queue of its device.
public struct CommandDraft: Sendable, Hashable {
    /// Whose queue.
    public var device: String
    /// What was sent.
    public var message: CommandMessage
    /// When the command ends, in milliseconds since 1970 UTC.
    public var expiresMilliseconds: Int64
    /// Now, in milliseconds since 1970 UTC.
    public var milliseconds: Int64

    /// Makes a draft.
    public init(device: String, message: CommandMessage, expiresMilliseconds: Int64, milliseconds: Int64) {
        self.device = device
        self.message = message
        self.expiresMilliseconds = expiresMilliseconds
        self.milliseconds = milliseconds
    }
}

/// A wish for the next commands of a device.
public struct CommandLockRequest: Sendable, Hashable {
    /// Whose queue.
    public var device: String
    /// The generation that the device must have, for a caller that signed in as it; nil for any.
    public var generationID: String?
    /// The connection that holds the locks, nil for a caller without one.
    public var connectionNumber: UInt64?
    /// How many commands at most.
    public var max: Int
    /// When the locks time out, in milliseconds since 1970 UTC.
    public var untilMilliseconds: Int64
    /// Whether a lock lasts until its command expires, where that is later; its loss then counts as a delivery.
    public var holdsUntilExpiry: Bool
    /// Now, in milliseconds since 1970 UTC.
    public var milliseconds: Int64

    /// Makes a request.
    public init(
        device: String,
        generationID: String? = nil,
        connectionNumber: UInt64? = nil,
        max: Int,
        untilMilliseconds: Int64,
        holdsUntilExpiry: Bool = false,
        milliseconds: Int64
    ) {
        self.device = device
        self.generationID = generationID
        self.connectionNumber = connectionNumber
        self.max = max
        self.untilMilliseconds = untilMilliseconds
        self.holdsUntilExpiry = holdsUntilExpiry
        self.milliseconds = milliseconds
    }
}

/// Which locks a settlement is about.
public enum CommandLocks: Sendable, Hashable {
    /// That of one command.
    case one(LockToken)
    /// Those that a connection holds, if any.
    case ofConnection(UInt64)
}

/// What became of commands that were locked.
public struct CommandSettlement: Sendable, Hashable {
    /// Whose queue.
    public var device: String
    /// Which commands.
    public var locks: CommandLocks
    /// What became of them.
    public var outcome: CommandOutcome
    /// Now, in milliseconds since 1970 UTC.
    public var milliseconds: Int64

    /// Makes a settlement.
    public init(device: String, locks: CommandLocks, outcome: CommandOutcome, milliseconds: Int64) {
        self.device = device
        self.locks = locks
        self.outcome = outcome
        self.milliseconds = milliseconds
    }
}

/// What a step did to a queue of commands.
public struct CommandChange: Sendable, Hashable {
    /// How many commands left the queue.
    public var endedCount: Int
    /// How many commands that were locked wait again.
    public var returnedCount: Int
    /// How many feedback records were written.
    public var feedbackCount: Int

    /// Puts counts together.
    public init(endedCount: Int = 0, returnedCount: Int = 0, feedbackCount: Int = 0) {
        self.endedCount = endedCount
        self.returnedCount = returnedCount
        self.feedbackCount = feedbackCount
    }

    /// Adds the counts of another step.
    public static func += (sum: inout CommandChange, other: CommandChange) {
        sum.endedCount += other.endedCount
        sum.returnedCount += other.returnedCount
        sum.feedbackCount += other.feedbackCount
    }
}

/// The next commands of a device, locked.
public struct CommandLockResult: Sendable, Hashable {
    /// The commands, oldest first.
    public var commands: [LockedCommand]
    /// What else the step did: commands that were over have ended.
    public var change: CommandChange

    /// Puts the two together.
    public init(commands: [LockedCommand] = [], change: CommandChange = CommandChange()) {
        self.commands = commands
        self.change = change
    }
}

/// What a look through all queues came to.
public struct CommandSweep: Sendable, Hashable {
    /// What was done.
    public var change: CommandChange
    /// The devices with commands whose locks timed out.
    public var devices: [String]
    /// Whether feedback waits for a reader.
    public var hasFeedback: Bool
    /// Whether the step reached its limit, so that there may be more to do.
    public var hasMore: Bool

    /// Puts the parts together.
    public init(change: CommandChange, devices: [String], hasFeedback: Bool, hasMore: Bool) {
        self.change = change
        self.devices = devices
        self.hasFeedback = hasFeedback
        self.hasMore = hasMore
    }
}

/// A wish for the next batch of feedback.
public struct FeedbackLockRequest: Sendable, Hashable {
    /// How many records make a batch.
    public var max: Int
    /// Fewer make one only where the oldest is of this time or earlier, in milliseconds since 1970 UTC.
    public var readyMilliseconds: Int64
    /// When the lock times out, in milliseconds since 1970 UTC.
    public var untilMilliseconds: Int64
    /// Now, in milliseconds since 1970 UTC.
    public var milliseconds: Int64

    /// Makes a request.
    public init(max: Int, readyMilliseconds: Int64, untilMilliseconds: Int64, milliseconds: Int64) {
        self.max = max
        self.readyMilliseconds = readyMilliseconds
        self.untilMilliseconds = untilMilliseconds
        self.milliseconds = milliseconds
    }
}

/// A batch of feedback that a reader has locked.
public struct LockedFeedback: Sendable, Hashable {
    /// What it is settled with.
    public var token: LockToken
    /// The records, oldest first; not empty.
    public var records: [FeedbackRecord]
    /// The time of the newest record, in milliseconds since 1970 UTC.
    public var enqueuedMilliseconds: Int64
    /// The place of the newest record in the queue; rises from batch to batch but for those that come again.
    public var sequenceNumber: Int64
    /// How often the batch's first record was given back.
    public var deliveryCount: Int

    /// Makes a batch.
    public init(
        token: LockToken,
        records: [FeedbackRecord],
        enqueuedMilliseconds: Int64,
        sequenceNumber: Int64,
        deliveryCount: Int
    ) {
        self.token = token
        self.records = records
        self.enqueuedMilliseconds = enqueuedMilliseconds
        self.sequenceNumber = sequenceNumber
        self.deliveryCount = deliveryCount
    }
}
