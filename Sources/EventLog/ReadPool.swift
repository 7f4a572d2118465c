// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import Synchronization

/// The threads that read from the disk, so that neither a loop nor Swift's pool ever waits for it.
final class ReadPool: Sendable {
    private struct State {
        var jobs: [@Sendable () -> Void] = []
        var isClosed = false
    }

    private let state = Mutex(State())
    private let doorbell = Doorbell()
    private let jobsMax: Int

    init(jobsMax: Int) { self.jobsMax = jobsMax }

    func start(threads: Int) {
        for number in 0..<threads {
            WorkerThread.start("log-read-\(number)") { [self] in
                while !state.withLock({ $0.isClosed }) {
                    if !runOne() { _ = doorbell.sleep(milliseconds: 60_000) }
                }
                // For the next thread that sleeps here.
                doorbell.ring()
            }
        }
    }

    /// Adds a job; returns why not when it can't.
    func add(_ job: @escaping @Sendable () -> Void) -> EventLogError? {
        let error = state.withLock { state -> EventLogError? in
            guard !state.isClosed else { return .closed }
            guard state.jobs.count < jobsMax else { return .overloaded }
            state.jobs.append(job)
            return nil
        }
        if error == nil { doorbell.ring() }
        return error
    }

    /// Runs the oldest job on this thread; false when there is none.
    func runOne() -> Bool {
        let (job, hasMore) = state.withLock { state in
            state.jobs.isEmpty ? (nil, false) : (state.jobs.removeFirst(), !state.jobs.isEmpty)
        }
        guard let job else { return false }
        if hasMore { doorbell.ring() }
        job()
        return true
    }

    /// Stops the threads; jobs that wait are run by nobody else, so they are run here.
    func close() {
        state.withLock { $0.isClosed = true }
        while runOne() {}
        doorbell.ring()
    }
}
