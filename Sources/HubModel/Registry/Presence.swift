// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

/// What is known of an identity's connection, or of its last one.
public struct Presence: Sendable, Hashable {
    /// Whether it is connected now.
    public var isConnected: Bool
    /// When it last connected or disconnected, in milliseconds since 1970 UTC.
    public var changedMilliseconds: Int64
    /// When it last connected, sent or received something, in milliseconds since 1970 UTC.
    public var lastActivityMilliseconds: Int64
    /// The plug-and-play model that it announced on that connection, nil where it announced none.
    public var modelID: String?

    /// Describes a connection.
    public init(
        isConnected: Bool,
        changedMilliseconds: Int64,
        lastActivityMilliseconds: Int64,
        modelID: String? = nil
    ) {
        self.isConnected = isConnected
        self.changedMilliseconds = changedMilliseconds
        self.lastActivityMilliseconds = lastActivityMilliseconds
        self.modelID = modelID
    }
}

/// A presence as it is stored: of one generation of an identity.
public struct PresenceRecord: Sendable, Hashable {
    /// Whose it is.
    public var id: IdentityID
    /// The generation of the identity that connected.
    public var generationID: String
    /// What is known.
    public var presence: Presence

    /// Puts the parts together.
    public init(id: IdentityID, generationID: String, presence: Presence) {
        self.id = id
        self.generationID = generationID
        self.presence = presence
    }
}

/// What documents show of an identity's connection and queue.
public struct IdentityActivity: Sendable, Hashable {
    /// What is known of its connection, nil where it never had one.
    public var presence: Presence?
    /// How many commands wait for it.
    public var commandCount: Int32

    /// Describes an identity; without arguments, one that never connected and that nothing waits for.
    public init(presence: Presence? = nil, commandCount: Int32 = 0) {
        self.presence = presence
        self.commandCount = commandCount
    }

    /// Whether it is connected, as documents say it.
    public var connectionState: String { self.presence?.isConnected == true ? "Connected" : "Disconnected" }
}
