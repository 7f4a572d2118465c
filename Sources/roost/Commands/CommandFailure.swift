// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import HubModel

/// Turns errors of the administrator's commands into lines on standard error and an exit code.
enum CommandFailure {
    /// Runs `body`; what it throws is printed, line by line.
    ///
    /// - Throws: the exit code 1 for what was printed; ArgumentParser's own errors as they are.
    static func reported(_ body: () async throws -> Void) async throws {
        do {
            try await body()
        } catch let error as ValidationError {
            throw error
        } catch let error as ExitCode {
            throw error
        } catch let error as HubError {
            // The name of its code is for programs.
            StandardStreams.error("roost: \(error.message)\n")
            throw ExitCode.failure
        } catch {
            for line in "\(error)".split(separator: "\n") { StandardStreams.error("roost: \(line)\n") }
            throw ExitCode.failure
        }
    }
}
