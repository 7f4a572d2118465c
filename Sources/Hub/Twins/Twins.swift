// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

public import HubModel
public import NIOCore

/// Reads and changes twins, for back ends and for the devices themselves, and tells devices of changes.
public struct Twins: Sendable {
    /// A twin's document as a back end reads it.
    public struct Document: Sendable, Hashable {
        /// The text, one JSON object.
        public let text: ByteBuffer
        /// The entity tag without quotes.
        public let etag: String
    }

    private let store: any TwinStore
    private let directory: Directory
    private let presences: Presences
    private let limits: TwinLimits
    private let clock: HubClock
    private let events: TwinEvents

    init(
        store: any TwinStore,
        directory: Directory,
        presences: Presences,
        limits: TwinLimits,
        clock: HubClock,
        events: TwinEvents
    ) {
        self.store = store
        self.directory = directory
        self.presences = presences
        self.limits = limits
        self.clock = clock
        self.events = events
    }

    // MARK: Back ends

    /// Returns a twin's document.
    ///
    /// - Throws: `HubError`: `.deviceNotFound`, `.moduleNotFound`
    public func document(of id: IdentityID) async throws -> Document {
        let record = try await self.store.twin(id)
        return try await self.document(record.twin, record.identity)
    }

    /// Merges the body of a PATCH into tags and desired properties, or has that of a PUT replace them.
    ///
    /// - Throws: `HubError`: `.deviceNotFound`, `.moduleNotFound`, `.preconditionFailed`, `.formatError`,
    ///   `.argumentInvalid`
    public func write(_ id: IdentityID, body: ByteBuffer, replaces: Bool, ifMatch: IfMatch?) async throws -> Document {
        let change = try TwinChange(serviceBody: body, replaces: replaces, limits: self.limits)
        let commit = try await self.commit(change, of: id, ifMatch: ifMatch)
        return try await self.document(commit.update.twin, commit.identity)
    }

    /// Carries out a back end's change and returns when it is durable.
    ///
    /// - Throws: `HubError`: `.deviceNotFound`, `.moduleNotFound`, `.preconditionFailed`, `.argumentInvalid`
    public func apply(_ change: TwinChange, to id: IdentityID, ifMatch: IfMatch?) async throws {
        _ = try await self.commit(change, of: id, ifMatch: ifMatch)
    }

    private func commit(_ change: TwinChange, of id: IdentityID, ifMatch: IfMatch?) async throws -> TwinCommit {
        let submitted = self.step(id, change, ifMatch: ifMatch)
        return try await withCheckedThrowingContinuation { continuation in
            self.submit(submitted) { continuation.resume(with: $0) }
        }
    }

    private func document(_ twin: Twin, _ identity: RegisteredIdentity) async throws -> Document {
        let activity = try await self.presences.activity(of: twin.id)
        return Document(text: try twin.serviceDocument(of: identity, activity), etag: twin.etag)
    }

    // MARK: Devices

    /// Returns the document that the device itself reads.
    func deviceDocument(of identity: AuthenticatedIdentity) async throws -> ByteBuffer {
        let record = try await self.store.twin(identity.id)
        guard record.identity.generationID == identity.generationID else {
            throw HubError(.deviceNotFound, "The device with ID '\(identity.id.device)' was not found.")
        }
        return record.twin.deviceDocument
    }

    /// Merges a device's patch into its reported properties; answers with their version, on a thread of the store.
    func report(
        _ body: ByteBuffer,
        ifVersion: Int64?,
        of identity: AuthenticatedIdentity,
        answer: @escaping @Sendable (Result<Int64, HubError>) -> Void
    ) {
        do throws(HubError) {
            let change = try TwinChange(reportedBody: body, ifVersion: ifVersion, limits: self.limits)
            var step = self.step(identity.id, change)
            step.generationID = identity.generationID
            self.submit(step) { outcome in answer(outcome.map { $0.update.twin.reported.version }) }
        } catch {
            answer(.failure(error))
        }
    }

    // MARK: Steps

    /// A step that carries out a change now.
    func step(_ id: IdentityID, _ change: TwinChange, ifMatch: IfMatch? = nil) -> TwinStep {
        var etags: [String]?
        if case .etags(let wanted)? = ifMatch { etags = wanted }
        return TwinStep(
            id: id,
            change: change,
            ifMatch: etags,
            milliseconds: self.clock.milliseconds,
            recordsEvent: self.events.isWanted
        )
    }

    private func submit(_ step: TwinStep, _ done: @escaping @Sendable (Result<TwinCommit, HubError>) -> Void) {
        self.store.submit(step) { outcome in
            if case .success(let commit) = outcome { self.tell(of: step, commit) }
            done(outcome)
        }
    }

    /// Tells whom a step concerns that is durable; called from the store, in the order of commits.
    func tell(of step: TwinStep, _ commit: TwinCommit) {
        guard !commit.update.written.isEmpty else { return }
        if let notice = commit.update.notice {
            self.directory.link(of: step.id, wanting: .desired)?.link.deliver(.desiredPatch(notice))
        }
        if step.recordsEvent { self.events.ring() }
    }
}
