// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import GRDB
import HubModel
import Synchronization

/// What a step asks of the disk.
enum StepRoom: Sendable {
    /// It stores something new: refused while space is short.
    case takes
    /// It settles, deletes or changes what is there: carried out as long as the disk takes anything at all.
    case frees
}

/// The one writer of the state database: steps that wait at the same time are committed, and synced, together.
///
/// A step runs in a savepoint, so that one which fails takes nothing of the others with it. No step is answered before
/// the commit that holds it returned. While space is short, only steps that need none are carried out: a disk that others
/// have filled must not keep devices from settling what they got.
final class GroupCommit: Sendable {
    /// What to call when the commit is through.
    private typealias Completion = @Sendable () -> Void

    private struct Step: Sendable {
        let room: StepRoom
        let bytes: Int
        /// Runs the step; says how to answer it when the commit is through, and with what it failed.
        let run: @Sendable (Database) -> (completion: Completion, error: (any Error)?)
        /// Answers a step of which nothing is stored.
        let refuse: @Sendable (any Error) -> Void
    }

    private struct State {
        var waiting: [Step] = []
        var bytes = 0
        var isDraining = false
    }

    private static let noRoom = HubError(.storageFull, "The disk of the state database is almost full.")

    private let database: any DatabaseWriter
    private let limits: StateDatabaseLimits
    private let disk: StateDisk
    private let state = Mutex(State())
    private let accepts = Atomic(true)

    /// Makes the writer of a database.
    ///
    /// - Parameters:
    ///   - database: what is written
    ///   - disk: where it stands
    ///   - limits: how much may wait; more is refused as `.serviceUnavailable`
    init(_ database: any DatabaseWriter, on disk: StateDisk, limits: StateDatabaseLimits) {
        self.database = database
        self.disk = disk
        self.limits = limits
    }

    /// Whether the last commit went through and there was room for what is new.
    var isWritable: Bool { self.accepts.load(ordering: .relaxed) }

    /// Runs a step of the business and returns its result once it is durable.
    ///
    /// - Throws: what the step threw, or a `HubError` where the store failed
    func perform<Value: Sendable>(
        _ room: StepRoom,
        _ body: @escaping @Sendable (Database) throws -> Value
    ) async throws -> Value {
        try await withCheckedThrowingContinuation { continuation in
            self.submit(room, body) { continuation.resume(with: $0) }
        }
    }

    /// Runs a step of the business, after those that the same thread submitted before, and returns at once.
    ///
    /// `done` is called once, on the writer's thread, in the order of the steps, when the step is durable or failed; on
    /// the caller's, where too much waits. `body` may run twice: what it did the first time was taken back then.
    ///
    /// - Parameters:
    ///   - room: whether it stores something new
    ///   - bytes: how much memory it holds while it waits, where that is much
    ///   - body: the step
    ///   - done: takes the outcome
    func submit<Value: Sendable>(
        _ room: StepRoom,
        bytes: Int = 0,
        _ body: @escaping @Sendable (Database) throws -> Value,
        done: @escaping @Sendable (Result<Value, any Error>) -> Void
    ) {
        let step = Step(room: room, bytes: bytes) { database in
            let outcome = Self.run(body, in: database)
            let error: (any Error)?
            if case .failure(let failure) = outcome { error = failure } else { error = nil }
            return ({ done(outcome.mapError(StoreError.hubError)) }, error)
        } refuse: { error in
            done(.failure(StoreError.hubError(error)))
        }
        if !self.enqueue(step) {
            step.refuse(HubError(.serviceUnavailable, "Too many changes wait for the store."))
        }
    }

    /// Runs a step in a savepoint.
    ///
    /// Its statements are kept compiled, which `Database.inSavepoint` does not do: every step needs two.
    private static func run<Value>(
        _ body: (Database) throws -> Value,
        in database: Database
    ) -> Result<Value, any Error> {
        do {
            try database.cachedStatement(sql: "SAVEPOINT step").execute()
        } catch {
            return .failure(error)
        }
        do {
            let value = try body(database)
            try database.cachedStatement(sql: "RELEASE step").execute()
            return .success(value)
        } catch {
            return .failure(self.takeBack(database) ?? error)
        }
    }

    /// Undoes a step that failed; returns why where it can't be undone.
    private static func takeBack(_ database: Database) -> (any Error)? {
        // Some failures, as of a full disk, have undone the whole transaction, and its commit will fail.
        guard database.isInsideTransaction else { return nil }
        do {
            try database.cachedStatement(sql: "ROLLBACK TO step").execute()
            try database.cachedStatement(sql: "RELEASE step").execute()
            return nil
        } catch {
            return error
        }
    }

    /// Adds a step, and begins to drain where nobody does.
    ///
    /// Returns false where too much waits.
    private func enqueue(_ step: Step) -> Bool {
        let (isAccepted, begins) = self.state.withLock { state -> (Bool, Bool) in
            guard state.waiting.count < self.limits.waitingStepsMax, state.bytes < self.limits.waitingBytesMax else {
                return (false, false)
            }
            state.waiting.append(step)
            state.bytes += step.bytes
            let begins = !state.isDraining
            state.isDraining = true
            return (true, begins)
        }
        if begins { self.database.asyncWriteWithoutTransaction { self.drain($0) } }
        return isAccepted
    }

    /// Commits what waits until nothing does; runs on the database's own queue.
    private func drain(_ database: Database) {
        while true {
            let steps = self.state.withLock { state -> [Step] in
                let steps = state.waiting
                state.waiting.removeAll(keepingCapacity: true)
                state.bytes = 0
                state.isDraining = !steps.isEmpty
                return steps
            }
            guard !steps.isEmpty else { return }
            self.commit(steps, database)
            self.disk.committed(database)
        }
    }

    private func commit(_ steps: [Step], _ database: Database) {
        let hasRoom = self.disk.findRoom()
        do {
            let completions: [Completion]
            do {
                completions = try self.run(steps, hasRoom: hasRoom, in: database)
                self.accepts.store(hasRoom, ordering: .relaxed)
            } catch let error as DatabaseError where error.resultCode == .SQLITE_FULL {
                // None of it is stored. What needs no room may fit without the rest, and with the reserve.
                self.accepts.store(false, ordering: .relaxed)
                guard self.disk.giveReserve() || hasRoom else { throw error }
                completions = try self.run(steps, hasRoom: false, in: database)
            }
            for completion in completions { completion() }
        } catch {
            self.accepts.store(false, ordering: .relaxed)
            for step in steps { step.refuse(error) }
        }
    }

    /// Commits steps; throws where none of them is stored.
    private func run(_ steps: [Step], hasRoom: Bool, in database: Database) throws -> [Completion] {
        var completions: [Completion] = []
        try database.inTransaction(.immediate) {
            for step in steps {
                guard hasRoom || step.room == .frees else {
                    completions.append { step.refuse(Self.noRoom) }
                    continue
                }
                let (completion, error) = step.run(database)
                // Where the disk fails, SQLite takes back the whole transaction, with the steps before this one.
                if let error, !database.isInsideTransaction { throw error }
                completions.append(completion)
            }
            return .commit
        }
        return completions
    }
}
