// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import HubClient
import HubModel

#if canImport(Glibc)
import Glibc
#endif

/// What a command cannot do, and what the user can do about it.
enum CommandError: Error, Hashable, CustomStringConvertible {
    /// The connection string is that of a device, where one of a policy is needed.
    case needsPolicy
    /// Nothing says which device to be.
    case needsDevice
    /// The device or module has no symmetric key.
    case noKey(id: String)
    /// The file cannot be read.
    case unreadableFile(String)
    /// A line of the file is not what the command reads.
    case badLine(file: String, line: Int, reason: String)
    /// What should be JSON is not, or not of the right kind.
    case badJSON(name: String, reason: String)
    /// What was asked for took effect in part; the failures are printed already.
    case partlyDone(failures: Int)

    var description: String {
        switch self {
        case .needsPolicy:
            "the connection string is that of a device. Give one of a policy (HostName, SharedAccessKeyName, "
                + "SharedAccessKey): 'roost connection-string service' prints it."
        case .needsDevice:
            "say which device to be with --device, or give the connection string of one."
        case .noKey(let id):
            "'\(id)' signs in with a certificate: it has no key."
        case .unreadableFile(let file):
            "cannot read \(file)."
        case .badLine(let file, let line, let reason):
            "\(file), line \(line): \(reason)"
        case .badJSON(let name, let reason):
            "\(name) is not the JSON that is needed: \(reason). Give it as text, as @FILE, or as @- for standard input."
        case .partlyDone(let failures):
            "\(failures) \(failures == 1 ? "item" : "items") failed, see above."
        }
    }
}

/// The exit codes of client commands, after sysexits.h.
enum ExitStatus {
    /// The hub refused, or a part failed.
    static let failure: Int32 = 1
    /// The hub could not be reached.
    static let unavailable: Int32 = 69
    /// The hub did not accept who is asking.
    static let denied: Int32 = 77

    /// The code for an error.
    static func code(for error: any Error) -> Int32 {
        guard let error = error as? HubClientError else { return Self.failure }
        switch error {
        case .unreachable, .tlsFailed, .timedOut, .closed: return Self.unavailable
        case .signInRefused: return Self.denied
        case .refused(let refusal): return refusal.status == 401 ? Self.denied : Self.failure
        case .unreadableAuthorities, .badKey, .subscriptionRefused, .amqpRefused, .protocolViolation:
            return Self.failure
        }
    }
}

/// Runs the body of a client command: an error becomes one line on standard error and an exit code.
///
/// - Parameter body: what the command does.
/// - Throws: `ExitCode`, or an error of ArgumentParser's as it is.
func reportingErrors(_ body: () async throws -> Void) async throws {
    do {
        try await body()
    } catch let error
        where error is HubClientError || error is CommandError || error is HubFileError
        || error is ConnectionStringError || error is MessageTemplateError
    {
        note("Error: \(error)")
        throw ExitCode(ExitStatus.code(for: error))
    }
}

/// Writes a line to standard error: what is not the result of a command.
func note(_ text: String) {
    noteUnended(text + "\n")
}

/// Writes to standard error without ending the line.
func noteUnended(_ text: String) {
    let line = Array(text.utf8)
    var rest = line[...]
    while !rest.isEmpty {
        let count = rest.withUnsafeBytes { write(STDERR_FILENO, $0.baseAddress, $0.count) }
        guard count > 0 else { return }
        rest = rest.dropFirst(count)
    }
}
