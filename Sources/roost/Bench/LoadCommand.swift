// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import FoundationEssentials
import HubClient

/// A load generator: finds its hub, and prints what it found out.
protocol LoadCommand: AsyncParsableCommand, Sendable {
    associatedtype Report: BenchResult

    /// The options by which it finds its hub.
    var hubOptions: HubOptions { get }
    /// Whether it prints lines for people or one JSON object.
    var outputOptions: OutputOptions { get }

    /// Measures, and puts away what it made whatever happened.
    ///
    /// - Parameters:
    ///   - target: the hub.
    ///   - tell: called with each line for people as soon as it is known.
    /// - Returns: the figures.
    /// - Throws: whatever kept it from measuring.
    func measured(_ target: HubTarget, tell: @escaping @Sendable (String) -> Void) async throws -> Report
}

extension LoadCommand {
    func run() async throws {
        // A connection is a descriptor, and the usual limit is 1,024.
        _ = ProcessLimits.raiseDescriptors()
        try await reportingErrors {
            let isJSON = self.outputOptions.json
            let target = try self.hubOptions.resolve()
            let report = try await Interruption.cancelling {
                try await self.measured(target) { line in isJSON ? note(line) : say(line) }
            }
            if isJSON {
                let encoder = JSONEncoder()
                encoder.outputFormatting = [.prettyPrinted, .sortedKeys]
                say(String(decoding: try encoder.encode(report), as: UTF8.self))
            }
            if report.hasFailures {
                throw ExitCode(ExitStatus.failure)
            }
        }
    }
}

/// A load generator of one kind of operation, which is told when all is over.
protocol OperationLoadCommand: LoadCommand where Report == OperationReport {
    /// Measures, and puts away what it made whatever happened.
    ///
    /// - Parameter target: the hub.
    /// - Returns: the figures.
    /// - Throws: whatever kept it from measuring.
    func measured(_ target: HubTarget) async throws -> OperationReport
}

extension OperationLoadCommand {
    func measured(_ target: HubTarget, tell: @escaping @Sendable (String) -> Void) async throws -> OperationReport {
        let report = try await self.measured(target)
        report.lines.forEach(tell)
        return report
    }
}

/// A load generator with devices of its own.
protocol DeviceLoadCommand: LoadCommand {
    /// What those have in common.
    var options: BenchOptions { get }
}

extension DeviceLoadCommand {
    var hubOptions: HubOptions { self.options.hub }
    var outputOptions: OutputOptions { self.options.output }
}

/// What a load generator found out.
protocol BenchResult: Encodable, Sendable {
    /// Whether something was refused or lost.
    var hasFailures: Bool { get }
}
