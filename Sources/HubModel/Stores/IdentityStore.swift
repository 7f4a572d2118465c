// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

/// On what condition a write of an identity takes place.
public enum WriteCondition: Sendable, Hashable {
    /// Only where there is none of that id.
    case absent
    /// Only where there is one, whatever its entity tag.
    case present
    /// Only where there is one with this entity tag.
    case matches(etag: String)
    /// In any case.
    case always
}

/// One write of a bulk call.
public enum IdentityWrite: Sendable, Hashable {
    /// Stores a document.
    case put(RegisteredIdentity, WriteCondition)
    /// Removes an identity, and with a device all its modules.
    case delete(IdentityID, WriteCondition)
}

/// What belongs together of one identity, to be carried out as a whole.
public struct IdentityStep: Sendable {
    /// The write that decides: where it is refused nothing of the step is done.
    public var write: IdentityWrite
    /// Writes that go along with it; one that is refused is passed over.
    public var companions: [IdentityWrite]
    /// What is to become of the identity's twin after that, nil for nothing.
    public var twin: TwinStep?

    /// Makes a step.
    public init(_ write: IdentityWrite, companions: [IdentityWrite] = [], twin: TwinStep? = nil) {
        self.write = write
        self.companions = companions
        self.twin = twin
    }
}

/// What a step on an identity came to.
public struct IdentityOutcome: Sendable {
    /// The identity as it was before, nil where there was none.
    public let before: RegisteredIdentity?
    /// What became of its twin, nil where nothing was asked; a refusal takes nothing of the rest back.
    public let twin: Result<TwinCommit, HubError>?

    /// Makes an outcome.
    public init(before: RegisteredIdentity?, twin: Result<TwinCommit, HubError>? = nil) {
        self.before = before
        self.twin = twin
    }
}

/// Keeps identities, shared access policies, and what persistent sessions subscribed to.
///
/// Guarantees: a call that returned is durable; each call is one atomic step; reads see every write that returned
/// before they began. Deleting an identity deletes its subscriptions.
public protocol IdentityStore: Sendable {
    /// Returns an identity, nil where there is none.
    func identity(_ id: IdentityID) async throws -> RegisteredIdentity?

    /// The answers to steps, in their order; or why none of them was carried out.
    typealias StepsAnswer = Result<[Result<IdentityOutcome, HubError>], HubError>

    /// Carries out steps together; each succeeds or fails by itself. Called on any thread, returns at once.
    ///
    /// `committed` is called once, on a thread of the store, when all of them are durable, and in the order in which
    /// steps took effect; it must be short. A step is refused with `.deviceAlreadyExists`, `.moduleAlreadyExists`,
    /// `.deviceNotFound`, `.moduleNotFound`, `.preconditionFailed`, `.quotaExceeded` or `.tooManyModules`; its twin's part
    /// with what ``TwinStore/submit(_:committed:)`` fails with.
    func submit(_ steps: [IdentityStep], committed: @escaping @Sendable (StepsAnswer) -> Void)

    /// Lists devices without their modules, ordered by the bytes of their ids, those after `id` only, at most `limit`.
    func devices(after id: String?, limit: Int) async throws -> [RegisteredIdentity]

    /// Lists the modules of a device, ordered by the bytes of their ids; none where there is no such device.
    func modules(of device: String) async throws -> [RegisteredIdentity]

    /// Counts devices without their modules: all of them, and those that are enabled.
    func deviceCounts() async throws -> (total: Int, enabled: Int)

    /// Returns the shared access policies, ordered by name.
    func policies() async throws -> [SharedAccessPolicy]

    /// Replaces the shared access policies.
    func setPolicies(_ policies: [SharedAccessPolicy]) async throws

    /// Returns what the persistent session of an identity subscribed to, in the order of subscribing.
    func subscriptions(of id: IdentityID) async throws -> [SubscriptionFilter]

    /// Adds subscriptions; one whose filter is held already replaces its quality of service and keeps its age.
    ///
    /// Does nothing for an identity that is not registered (any more).
    func addSubscriptions(_ filters: [SubscriptionFilter], of id: IdentityID) async throws

    /// Removes subscriptions by filter; nil removes all.
    func removeSubscriptions(_ filters: [String]?, of id: IdentityID) async throws
}

extension IdentityStore {
    /// Carries out steps together and returns when they are durable.
    ///
    /// - Throws: what kept the store from carrying out any of them
    public func apply(_ steps: [IdentityStep]) async throws -> [Result<IdentityOutcome, HubError>] {
        try await withCheckedThrowingContinuation { continuation in
            self.submit(steps) { continuation.resume(with: $0) }
        }
    }

    /// Stores and removes identities together, and answers each write with the identity as it was before it.
    ///
    /// - Throws: what kept the store from carrying out any of them
    public func apply(_ writes: [IdentityWrite]) async throws -> [Result<RegisteredIdentity?, HubError>] {
        try await self.apply(writes.map { IdentityStep($0) }).map { $0.map(\.before) }
    }
}
