// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import HubClient
import HubModel

/// What a command cannot do, and what the user can do about it.
enum CommandError: Error, Hashable, CustomStringConvertible {
    /// The connection string is that of a device, where one of a policy is needed.
    case needsPolicy
    /// Nothing says which device to be.
    case needsDevice
    /// The device or module has no symmetric key.
    case noKey(id: String)
    /// The file cannot be read.
    case unreadableFile(String, reason: String)
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
        case .unreadableFile(let file, let reason):
            "cannot read \(file): \(reason)."
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
    /// What the user asked for could not be written.
    static let outputFailed: Int32 = 74
    /// The hub did not accept who is asking.
    static let denied: Int32 = 77
    /// The user ended it, as shells count SIGINT.
    static let interrupted: Int32 = 130
    /// Whoever read the output went away, as shells count SIGPIPE.
    static let brokenPipe: Int32 = 141

    /// The code for an error.
    static func code(for error: any Error) -> Int32 {
        guard let error = error as? HubClientError else { return Self.failure }
        switch error {
        case .unreachable, .tlsFailed, .timedOut, .closed: return Self.unavailable
        case .signInRefused, .refused, .amqpRefused: return error.isDenial ? Self.denied : Self.failure
        case .unreadableAuthorities, .badKey, .emptyID, .subscriptionRefused, .protocolViolation: return Self.failure
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
        try StandardStreams.checkOutput()
    } catch let error where error is ValidationError || error is ExitCode {
        throw error
    } catch {
        note("Error: \(error)")
        throw ExitCode(ExitStatus.code(for: error))
    }
}
