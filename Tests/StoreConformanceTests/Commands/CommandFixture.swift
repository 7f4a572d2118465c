// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import EmbeddedStore
import HubModel
import NIOCore

/// Queues on a database, and short ways to use them; times are seconds since 1970.
struct CommandFixture {
    static let base: Int64 = 1_700_000_000

    let identities: any IdentityStore
    let store: any CommandStore

    init(limits: Limits = Limits()) throws {
        try self.init(StateDatabase.inMemory(), limits: limits)
    }

    init(_ database: StateDatabase, limits: Limits = Limits()) throws {
        self.identities = EmbeddedIdentityStore(database, limits: limits)
        self.store = try EmbeddedCommandStore(database, limits: limits)
    }

    static func milliseconds(_ seconds: Int64) -> Int64 { (Self.base + seconds) * 1000 }

    func create(_ devices: String..., generation: String = "1") async throws {
        for device in devices {
            let identity = RegisteredIdentity(
                id: IdentityID(device: device),
                generationID: generation,
                etag: "e"
            )
            _ = try await self.identities.apply([.put(identity, .always)])[0].get()
        }
    }

    func delete(_ device: String) async throws {
        _ = try await self.identities.apply([.delete(IdentityID(device: device), .always)])[0].get()
    }

    func message(_ id: String?, _ mode: FeedbackMode = .none) -> CommandMessage {
        CommandMessage(
            messageID: id,
            to: "/devices/d/messages/deviceBound",
            acknowledgement: mode,
            body: ByteBuffer(string: id ?? "nameless")
        )
    }

    @discardableResult
    func enqueue(
        _ id: String?,
        to device: String = "d",
        _ mode: FeedbackMode = .none,
        at seconds: Int64 = 0,
        expires: Int64 = 3600
    ) async throws -> Command {
        try await self.enqueue(
            CommandDraft(
                device: device,
                message: self.message(id, mode),
                expiresMilliseconds: Self.milliseconds(expires),
                milliseconds: Self.milliseconds(seconds)
            )
        )
    }

    func enqueue(_ draft: CommandDraft) async throws -> Command {
        try await withCheckedThrowingContinuation { continuation in
            self.store.enqueue(draft) { continuation.resume(with: $0) }
        }
    }

    func lock(
        _ device: String = "d",
        max: Int = 100,
        generation: String? = nil,
        connection: UInt64? = 1,
        until: Int64 = 60,
        holds: Bool = false,
        at seconds: Int64 = 0
    ) async throws -> CommandLockResult {
        let request = CommandLockRequest(
            device: device,
            generationID: generation,
            connectionNumber: connection,
            max: max,
            untilMilliseconds: Self.milliseconds(until),
            holdsUntilExpiry: holds,
            milliseconds: Self.milliseconds(seconds)
        )
        return try await withCheckedThrowingContinuation { continuation in
            self.store.lockNext(request) { continuation.resume(with: $0) }
        }
    }

    /// The ids of the commands that wait, which are locked by this.
    func ids(_ device: String = "d", connection: UInt64? = 1, at seconds: Int64 = 0) async throws -> [String?] {
        try await self.lock(device, connection: connection, until: seconds + 60, at: seconds).commands
            .map(\.command.message.messageID)
    }

    @discardableResult
    func settle(
        _ token: LockToken,
        _ outcome: CommandOutcome,
        of device: String = "d",
        at seconds: Int64 = 0
    ) async throws -> CommandChange {
        try await self.settle(.one(token), outcome, of: device, at: seconds)
    }

    @discardableResult
    func settle(
        _ locks: CommandLocks,
        _ outcome: CommandOutcome,
        of device: String = "d",
        at seconds: Int64 = 0
    ) async throws -> CommandChange {
        let settlement = CommandSettlement(
            device: device,
            locks: locks,
            outcome: outcome,
            milliseconds: Self.milliseconds(seconds)
        )
        return try await withCheckedThrowingContinuation { continuation in
            self.store.settle(settlement) { continuation.resume(with: $0) }
        }
    }

    @discardableResult
    func sweep(at seconds: Int64, limit: Int = 1000) async throws -> CommandSweep {
        try await self.store.sweep(atMilliseconds: Self.milliseconds(seconds), limit: limit)
    }

    func count(_ device: String = "d") async throws -> Int {
        try await self.store.counts(of: [device])[device] ?? 0
    }

    func feedback(
        max: Int = 64,
        ready: Int64? = nil,
        until: Int64? = nil,
        at seconds: Int64 = 0
    ) async throws -> LockedFeedback? {
        let request = FeedbackLockRequest(
            max: max,
            readyMilliseconds: Self.milliseconds(ready ?? seconds),
            untilMilliseconds: Self.milliseconds(until ?? seconds + 60),
            milliseconds: Self.milliseconds(seconds)
        )
        return try await withCheckedThrowingContinuation { continuation in
            self.store.lockFeedback(request) { continuation.resume(with: $0) }
        }
    }

    @discardableResult
    func settleFeedback(_ token: LockToken, _ outcome: CommandOutcome, at seconds: Int64 = 0) async throws -> Int {
        try await withCheckedThrowingContinuation { continuation in
            self.store.settleFeedback(token, outcome, atMilliseconds: Self.milliseconds(seconds)) {
                continuation.resume(with: $0)
            }
        }
    }

    func code(_ call: () async throws -> Void) async -> HubErrorCode? {
        do { try await call() } catch { return (error as? HubError)?.code }
        return nil
    }
}
