// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import EmbeddedStore
import EventLog
import FoundationEssentials
import Glibc
import HubTransport

/// `roost backup`: a consistent copy of a data directory, while its hub serves or not.
struct BackupCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "backup",
        abstract: "Copy a data directory, consistently, while its hub serves.",
        discussion: """
            The copy is a data directory itself: 'roost serve --data COPY' runs a hub on it, with the same devices, keys, \
            certificates and events. It holds secrets: keep it as safe as the hub.
            """
    )

    @Option(
        name: .long,
        help: ArgumentHelp("The data directory (environment ROOST_DATA, else ./roost-data).", valueName: "dir")
    )
    var data: String?
    @Option(
        name: .long,
        help: ArgumentHelp("The directory to make; there must be none of that name.", valueName: "dir")
    )
    var to: String
    @Flag(name: .long, help: "Print a JSON object.")
    var json = false

    func run() async throws {
        try await CommandFailure.reported {
            let environment = ProcessInfo.processInfo.environment
            let source = DataDirectory.path(option: data, environment: environment)
            let report = try DirectoryBackup(source: source, destination: to).run()
            let text = report.jsonText
            StandardStreams.output(
                json ? text : "\(to): \(report.files) journal files, \(report.bytes) bytes of events\n"
            )
        }
    }
}

extension LogBackupReport {
    fileprivate var jsonText: String { "{\"journalFiles\":\(files),\"eventBytes\":\(bytes)}\n" }
}

/// Copies a data directory piece by piece, each in the way that keeps it consistent.
struct DirectoryBackup {
    let source: String
    let destination: String

    /// Copies into a directory of another name, and renames that when all of it is on the disk: a copy that was interrupted
    /// is never taken for a whole one.
    func run() throws -> LogBackupReport {
        guard SecretFile.exists(HubStores.databasePath(source)) else { throw BackupProblem.noHub(source) }
        guard !SecretFile.exists(destination) else { throw BackupProblem.exists(destination) }
        let partial = destination + ".partial"
        if SecretFile.exists(partial) { throw BackupProblem.exists(partial) }
        guard mkdir(partial, 0o700) == 0 else { throw FileError(path: partial, action: "create", errno: errno) }
        let report: LogBackupReport
        do {
            report = try copy(to: partial)
        } catch {
            try FileManager.default.removeItem(atPath: partial)
            throw error
        }
        guard rename(partial, destination) == 0 else {
            throw FileError(path: destination, action: "rename to", errno: errno)
        }
        try SecretFile.syncDirectory(of: destination)
        return report
    }

    private func copy(to target: String) throws -> LogBackupReport {
        // The state first: what it refers to in the log is there already.
        try StateDatabase.backup(HubStores.databasePath(source), to: HubStores.databasePath(target))
        try MasterKey(dataDirectory: source).copy(to: target)
        let report = try EventLog.backup(from: HubStores.logDirectory(source), to: HubStores.logDirectory(target))
        try copyCertificates(to: target + "/tls")
        try SecretFile.syncDirectory(of: HubStores.databasePath(target))
        return report
    }

    private func copyCertificates(to target: String) throws {
        let folder = source + "/tls"
        guard SecretFile.exists(folder) else { return }
        guard mkdir(target, 0o700) == 0 else { throw FileError(path: target, action: "create", errno: errno) }
        for name in try FileManager.default.contentsOfDirectory(atPath: folder) where !name.hasSuffix(".new") {
            let mode: UInt32 = name.hasSuffix(".key") ? 0o600 : 0o644
            try SecretFile.write(try SecretFile.read(folder + "/" + name), to: target + "/" + name, mode: mode)
        }
    }
}

/// Why a backup is not made.
enum BackupProblem: Error, Hashable, CustomStringConvertible {
    case noHub(String)
    case exists(String)

    var description: String {
        switch self {
        case .noHub(let path): "\(path) is no data directory of a hub. Name it with --data."
        case .exists(let path): "\(path) is there already. Give another name with --to, or remove it."
        }
    }
}
