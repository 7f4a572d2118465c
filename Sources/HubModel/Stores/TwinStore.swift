// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

public import NIOCore

/// One change of one twin, to be carried out as a whole.
public struct TwinStep: Sendable {
    /// Whose twin.
    public var id: IdentityID
    /// The generation that the identity must have, for a caller that signed in as it; nil for any.
    public var generationID: String?
    /// What is to be changed.
    public var change: TwinChange
    /// The entity tags of which the twin must have one; nil for any.
    public var ifMatch: [String]?
    /// The time of the change, in milliseconds since 1970 UTC.
    public var milliseconds: Int64
    /// Whether the outbox is to hold an event that tells of the change.
    public var recordsEvent: Bool

    /// Makes a step.
    public init(
        id: IdentityID,
        generationID: String? = nil,
        change: TwinChange,
        ifMatch: [String]? = nil,
        milliseconds: Int64,
        recordsEvent: Bool = false
    ) {
        self.id = id
        self.generationID = generationID
        self.change = change
        self.ifMatch = ifMatch
        self.milliseconds = milliseconds
        self.recordsEvent = recordsEvent
    }
}

/// A twin and the identity it belongs to, as they were at one moment.
public struct TwinRecord: Sendable, Hashable {
    /// The identity.
    public let identity: RegisteredIdentity
    /// Its twin.
    public let twin: Twin

    /// Puts the two together.
    public init(identity: RegisteredIdentity, twin: Twin) {
        self.identity = identity
        self.twin = twin
    }
}

/// What a step came to.
public struct TwinCommit: Sendable {
    /// The identity, as it was at the step.
    public let identity: RegisteredIdentity
    /// The twin after it, and what follows.
    public let update: TwinUpdate

    /// Puts the two together.
    public init(identity: RegisteredIdentity, update: TwinUpdate) {
        self.identity = identity
        self.update = update
    }
}

/// An entry of the outbox: a change of a twin that routes are yet to be told of.
public struct TwinEvent: Sendable, Hashable {
    /// Where it stands in the outbox; later changes stand behind.
    public let position: Int64
    /// Whose twin was changed.
    public let id: IdentityID
    /// Whether sections were replaced rather than merged into.
    public let isReplacement: Bool
    /// When, in milliseconds since 1970 UTC.
    public let milliseconds: Int64
    /// The body of the event, one JSON object.
    public let body: ByteBuffer

    /// Makes an entry.
    public init(position: Int64, id: IdentityID, isReplacement: Bool, milliseconds: Int64, body: ByteBuffer) {
        self.position = position
        self.id = id
        self.isReplacement = isReplacement
        self.milliseconds = milliseconds
        self.body = body
    }
}

/// Keeps the twins of all identities, and the outbox of their changes.
///
/// Guarantees: every identity has a twin, from its creation to its deletion; an identity that was deleted and made
/// again has a fresh one. A step that was answered is durable; steps that wait at the same time are made durable
/// together, each succeeding or failing by itself. Versions of one twin rise by one with each change.
public protocol TwinStore: Sendable {
    /// Returns a twin with its identity.
    ///
    /// - Throws: `HubError`: `.deviceNotFound`, `.moduleNotFound`
    func twin(_ id: IdentityID) async throws -> TwinRecord

    /// Carries out a step, in the order of the calls of one thread; called on any thread, returns at once.
    ///
    /// `committed` is called once, on a thread of the store, when the step is durable or failed, in the order in which
    /// steps of one twin took effect; it must be short. It fails with a ``HubError``: `.deviceNotFound` (also for
    /// another generation), `.moduleNotFound`, what ``Twin/applying(_:ifMatch:atMilliseconds:limits:)`` throws, or
    /// what the store suffers. The event of a step that wanted one is in the outbox when the step is durable, unless
    /// the step changed nothing.
    func submit(_ step: TwinStep, committed: @escaping @Sendable (Result<TwinCommit, HubError>) -> Void)

    /// Returns the oldest entries of the outbox, at most `limit`, in their order.
    func events(limit: Int) async throws -> [TwinEvent]

    /// Removes all entries of the outbox up to a position.
    func removeEvents(through position: Int64) async throws
}

extension TwinStore {
    /// Carries out a step and returns when it is durable.
    ///
    /// - Throws: what ``submit(_:committed:)`` fails with
    public func update(_ step: TwinStep) async throws -> TwinCommit {
        try await withCheckedThrowingContinuation { continuation in
            self.submit(step) { continuation.resume(with: $0) }
        }
    }
}

/// The store of a hub that offers no twins.
public struct NoTwins: TwinStore {
    /// Makes one.
    public init() {}

    /// Fails: there are none.
    public func twin(_ id: IdentityID) async throws -> TwinRecord { throw Self.error }

    /// Fails: there are none.
    public func submit(_ step: TwinStep, committed: @escaping @Sendable (Result<TwinCommit, HubError>) -> Void) {
        committed(.failure(Self.error))
    }

    /// Returns nothing.
    public func events(limit: Int) async throws -> [TwinEvent] { [] }

    /// Does nothing.
    public func removeEvents(through position: Int64) async throws {}

    private static let error = HubError(.notSupported, "This hub keeps no twins.")
}
