// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Glibc
import UnixSignals

/// Ctrl-C and SIGTERM for commands that have something to put away before they end.
enum Interruption {
    /// Runs `body`; the first signal cancels it, a second one ends the process at once.
    ///
    /// - Parameter body: puts away what it made when it is cancelled.
    /// - Returns: what `body` returns.
    /// - Throws: what `body` throws, or `ExitCode` once it is through after a signal.
    static func cancelling<Result: Sendable>(
        _ body: @escaping @Sendable () async throws -> Result
    ) async throws -> Result {
        let signals = await UnixSignalsSequence(trapping: .sigint, .sigterm)
        let work = Task { try await body() }
        return try await withThrowingTaskGroup(of: Void.self) { tasks in
            tasks.addTask {
                for await _ in signals {
                    if work.isCancelled {
                        _exit(ExitStatus.interrupted)
                    }
                    note("interrupted: what was made is put away; once more ends at once")
                    work.cancel()
                }
            }
            defer { tasks.cancelAll() }
            do {
                return try await work.value
            } catch  where work.isCancelled {
                throw ExitCode(ExitStatus.interrupted)
            }
        }
    }
}
