// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Glibc
import Synchronization

/// Writes to the standard streams at once, whatever they are connected to.
enum StandardStreams {
    /// The first failure of writing what the user asked for; nothing is written there after it.
    private static let failure = Mutex<Int32?>(nil)

    /// Whether what the user asked for cannot be written any more, because the reader went away or the disk is full.
    static var hasOutputFailed: Bool { failure.withLock { $0 != nil } }

    /// What the user asked for.
    static func output(_ text: String) {
        guard !hasOutputFailed, let problem = write(text, to: STDOUT_FILENO) else { return }
        failure.withLock { $0 = $0 ?? problem }
    }

    /// What went wrong; where nobody reads that, there is nowhere else to say so.
    static func error(_ text: String) { _ = write(text, to: STDERR_FILENO) }

    /// Ends a command whose output was not written: quietly where its reader has had enough, as `head` has.
    ///
    /// - Throws: `ExitCode`.
    static func checkOutput() throws {
        guard let problem = failure.withLock({ $0 }) else { return }
        guard problem != EPIPE else { throw ExitCode(ExitStatus.brokenPipe) }
        note("Error: the output cannot be written: \(String(cString: strerror(problem))).")
        throw ExitCode(ExitStatus.outputFailed)
    }

    /// Writes all of it.
    ///
    /// - Returns: the system's error number if that failed.
    private static func write(_ text: String, to descriptor: Int32) -> Int32? {
        let bytes = Array(text.utf8)
        var offset = 0
        while offset < bytes.count {
            let count = bytes.withUnsafeBytes {
                Glibc.write(descriptor, $0.baseAddress?.advanced(by: offset), bytes.count - offset)
            }
            if count < 0 && errno == EINTR { continue }
            guard count > 0 else { return errno }
            offset += count
        }
        return nil
    }
}

/// Writes what the user asked for, at once: a tail that is piped shows each line as it comes.
func say(_ text: String, terminator: String = "\n") {
    StandardStreams.output(text + terminator)
}

/// Writes a line to standard error: what is not the result of a command.
func note(_ text: String) {
    StandardStreams.error(text + "\n")
}
