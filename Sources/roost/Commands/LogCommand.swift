// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import EventLog
import FoundationEssentials

/// `roost log`: looks after the event log of a hub that does not run.
struct LogCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "log",
        abstract: "Check or repair the event log of a stopped hub.",
        subcommands: [Check.self, Repair.self]
    )

    /// `roost log check`: reads every byte, changes nothing; exit code 1 when something is damaged.
    struct Check: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "check",
            abstract: "Read every byte of the event log and tell what is damaged; changes nothing."
        )

        @OptionGroup var options: LogOptions

        func run() async throws {
            try await CommandFailure.reported {
                let report = try options.withLog { try EventLog.check($0) }
                options.print(report)
                if !report.damage.isEmpty { throw ExitCode.failure }
            }
        }
    }

    /// `roost log repair`: accepts the loss of what is damaged.
    struct Repair: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "repair",
            abstract: "Accept that damaged events are lost, so that their partitions take events again.",
            discussion: "Make a copy of the data directory first. Numbers of lost events are not given again."
        )

        @OptionGroup var options: LogOptions

        func run() async throws {
            try await CommandFailure.reported {
                options.print(try options.withLog { try EventLog.repair($0) })
            }
        }
    }
}

/// What check and repair have in common.
struct LogOptions: ParsableArguments {
    @Option(
        name: .long,
        help: ArgumentHelp("The data directory (environment ROOST_DATA, else ./roost-data).", valueName: "dir")
    )
    var data: String?
    @Flag(name: .long, help: "Print a JSON object.")
    var json = false

    /// Holds the data directory while `body` works on its log.
    func withLog(_ body: (EventLogConfiguration) throws -> LogCheckReport) throws -> LogCheckReport {
        let path = DataDirectory.path(option: data, environment: ProcessInfo.processInfo.environment)
        let folder = HubStores.logDirectory(path)
        guard let partitions = try EventLog.partitionCount(ofLogIn: folder) else { throw BackupProblem.noHub(path) }
        let directory = try HubDirectory(path)
        return try withExtendedLifetime(directory) {
            try body(EventLogConfiguration(directory: folder, partitionCount: partitions))
        }
    }

    func print(_ report: LogCheckReport) {
        StandardStreams.output(json ? report.jsonText : report.text)
    }
}

extension LogCheckReport {
    fileprivate var text: String {
        var lines = ["\(files) journal files, \(frames) frames, \(events) events"]
        if let torn { lines.append("a write that a crash interrupted: \(torn); nothing of it was acknowledged") }
        for place in damage { lines.append("damaged: \(place)") }
        if !damagedPartitions.isEmpty {
            let list = damagedPartitions.map(String.init).joined(separator: ", ")
            lines.append("partitions that miss events: \(list); they take none until 'roost log repair'")
        }
        if damage.isEmpty { lines.append("no damage") }
        return lines.joined(separator: "\n") + "\n"
    }

    fileprivate var jsonText: String {
        let places = damage.map { "\"\($0)\"" }.joined(separator: ",")
        let partitions = damagedPartitions.map(String.init).joined(separator: ",")
        return
            "{\"files\":\(files),\"frames\":\(frames),\"events\":\(events),\"torn\":\(torn.map { "\"\($0)\"" } ?? "null"),"
            + "\"damage\":[\(places)],\"damagedPartitions\":[\(partitions)]}\n"
    }
}
