// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

public import NIOCore

/// For which ends of a command its sender wants to be told (docs/wire/amqp.md#commands).
public enum FeedbackMode: String, Sendable, Hashable, CaseIterable {
    /// For none.
    case none
    /// When it was completed.
    case positive
    /// When it was not.
    case negative
    /// In either case.
    case full

    /// Reads a mode as senders write it, in any case of letters.
    public init?(text: some StringProtocol) {
        self.init(rawValue: text.lowercased())
    }

    /// Whether an end is to be told.
    public func asksFor(_ status: FeedbackStatus) -> Bool {
        switch self {
        case .none: false
        case .positive: status == .success
        case .negative: status != .success
        case .full: true
        }
    }
}

/// A property that the sender of a message made up, as text.
public struct MessageProperty: Sendable, Hashable {
    /// Its name.
    public var name: String
    /// Its value.
    public var value: String

    /// Makes a property.
    public init(name: String, value: String) {
        self.name = name
        self.value = value
    }
}

/// A message from a back end to a device, as the back end sent it.
public struct CommandMessage: Sendable, Hashable {
    /// What the sender calls it, as text; nil where it has no name.
    public var messageID: String?
    /// What it belongs to, as text.
    public var correlationID: String?
    /// Who caused it.
    public var userID: [UInt8]?
    /// Where it was sent, as the sender wrote it.
    public var to: String
    /// The kind of the body.
    public var contentType: String?
    /// How the body is encoded.
    public var contentEncoding: String?
    /// When it ends, in milliseconds since 1970 UTC; nil where the sender did not say.
    public var expiresMilliseconds: Int64?
    /// What the sender wants to be told.
    public var acknowledgement: FeedbackMode
    /// The sender's own properties, in their order.
    public var properties: [MessageProperty]
    /// The body.
    public var body: ByteBuffer

    /// Makes a message.
    public init(
        messageID: String? = nil,
        correlationID: String? = nil,
        userID: [UInt8]? = nil,
        to: String,
        contentType: String? = nil,
        contentEncoding: String? = nil,
        expiresMilliseconds: Int64? = nil,
        acknowledgement: FeedbackMode = .none,
        properties: [MessageProperty] = [],
        body: ByteBuffer
    ) {
        self.messageID = messageID
        self.correlationID = correlationID
        self.userID = userID
        self.to = to
        self.contentType = contentType
        self.contentEncoding = contentEncoding
        self.expiresMilliseconds = expiresMilliseconds
        self.acknowledgement = acknowledgement
        self.properties = properties
        self.body = body
    }

    /// What counts against the size limit: the body, the values of system properties, names and values of the others.
    public var size: Int {
        let system = [self.messageID, self.correlationID, self.to, self.contentType, self.contentEncoding]
        return self.body.readableBytes + (self.userID?.count ?? 0)
            + system.reduce(0) { $0 + ($1?.utf8.count ?? 0) }
            + self.properties.reduce(0) { $0 + $1.name.utf8.count + $1.value.utf8.count }
    }
}
