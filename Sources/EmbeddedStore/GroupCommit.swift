// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import GRDB
import HubModel
import Synchronization

/// The one writer of the state database: steps that wait at the same time are committed, and synced, together.
///
/// A step runs in a savepoint, so that one which fails takes nothing of the others with it. No step is answered before
/// the commit that holds it returned.
final class GroupCommit: Sendable {
    /// What to call when the commit is through, or failed.
    private typealias Completion = @Sendable ((any Error)?) -> Void

    private struct Step: Sendable {
        /// Runs the step.
        let run: @Sendable (Database) -> Completion
        /// Answers a step that could not be run.
        let refuse: @Sendable (any Error) -> Void
    }

    private struct State {
        var waiting: [Step] = []
        var isDraining = false
    }

    private let database: any DatabaseWriter
    private let waitingMax: Int
    private let state = Mutex(State())

    /// Makes the writer of a database.
    ///
    /// - Parameters:
    ///   - database: what is written
    ///   - waitingMax: how many steps may wait; more are refused as `.serviceUnavailable`
    init(_ database: any DatabaseWriter, waitingMax: Int) {
        self.database = database
        self.waitingMax = waitingMax
    }

    /// Runs a step of the business and returns its result once it is durable.
    ///
    /// - Throws: what the step threw, or a `HubError` where the store failed
    func perform<Value: Sendable>(_ body: @escaping @Sendable (Database) throws -> Value) async throws -> Value {
        try await withCheckedThrowingContinuation { continuation in
            self.submit(body) { continuation.resume(with: $0) }
        }
    }

    /// Runs a step of the business, after those that the same thread submitted before, and returns at once.
    ///
    /// `done` is called once, on the writer's thread, in the order of the steps, when the step is durable or failed.
    func submit<Value: Sendable>(
        _ body: @escaping @Sendable (Database) throws -> Value,
        done: @escaping @Sendable (Result<Value, any Error>) -> Void
    ) {
        let step = Step { database in
            let outcome = Self.run(body, in: database)
            return { commitError in
                if let commitError {
                    done(.failure(StoreError.hubError(commitError)))
                } else {
                    done(outcome.mapError { StoreError.hubError($0) })
                }
            }
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
    /// Returns false where too many wait.
    private func enqueue(_ step: Step) -> Bool {
        let (isAccepted, begins) = self.state.withLock { state -> (Bool, Bool) in
            guard state.waiting.count < self.waitingMax else { return (false, false) }
            state.waiting.append(step)
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
                state.isDraining = !steps.isEmpty
                return steps
            }
            guard !steps.isEmpty else { return }
            self.commit(steps, database)
        }
    }

    private func commit(_ steps: [Step], _ database: Database) {
        var completions: [Completion] = []
        do {
            try database.inTransaction(.immediate) {
                for step in steps { completions.append(step.run(database)) }
                return .commit
            }
            for completion in completions { completion(nil) }
        } catch {
            // The transaction never began, or its commit failed and was rolled back: none of it is stored.
            for step in steps.dropFirst(completions.count) { step.refuse(error) }
            for completion in completions { completion(error) }
        }
    }
}
