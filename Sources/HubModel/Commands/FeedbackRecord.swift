// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

/// How a command ended, in the words of a feedback record (docs/wire/amqp.md#feedback).
public enum FeedbackStatus: String, Sendable, Hashable, CaseIterable {
    /// The device completed it.
    case success = "Success"
    /// Its time was over before it was completed.
    case expired = "Expired"
    /// The device gave it back too often.
    case deliveryCountExceeded = "DeliveryCountExceeded"
    /// The device refused it.
    case rejected = "Rejected"
    /// A back end emptied the queue.
    case purged = "Purged"
}

/// Tells the sender of a command how it ended.
public struct FeedbackRecord: Sendable, Hashable {
    /// What the sender called the command, empty where it had no name.
    public var messageID: String
    /// The device.
    public var device: String
    /// The generation of the device.
    public var generationID: String
    /// How it ended.
    public var status: FeedbackStatus
    /// When it ended, in milliseconds since 1970 UTC.
    public var milliseconds: Int64

    /// Makes a record.
    public init(
        messageID: String,
        device: String,
        generationID: String,
        status: FeedbackStatus,
        milliseconds: Int64
    ) {
        self.messageID = messageID
        self.device = device
        self.generationID = generationID
        self.status = status
        self.milliseconds = milliseconds
    }
}
