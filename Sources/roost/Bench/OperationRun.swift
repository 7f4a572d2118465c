// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import FoundationEssentials
import HubClient

/// Measures how often a load does something, how long that takes, and what it costs the server.
struct OperationRun: Sendable {
    /// What is counted, in one word.
    var operation: String
    /// For how long it measures.
    var seconds: Double
    /// For how long it works before it measures.
    var warmUpSeconds: Double
    /// The server's process, when it is on this machine.
    var processID: Int32?
    /// Reads the events of the load back, when that was asked.
    var reader: LoadReader?

    /// Runs a load that is set up.
    ///
    /// - Parameters:
    ///   - load: what is measured.
    ///   - count: how many operations the figures stand for.
    /// - Returns: the figures.
    /// - Throws: ``HubClientError`` when nothing was done at all.
    func run(_ load: some MeasuredLoad, count: (FleetFigures) -> UInt64) async throws -> OperationReport {
        try await load.start()
        try await Task.sleep(for: .seconds(self.warmUpSeconds))
        let first = try await load.figures()
        let (server, own) = (self.usage(), ProcessUsage.now(processID: 0))
        let start = ContinuousClock.now
        try await load.measure()
        self.reader?.measure()
        try await Task.sleep(for: .seconds(self.seconds))
        let last = try await load.figures()
        let elapsed = Double(start.duration(to: .now).nanoseconds) / 1e9
        let (serverAfter, ownAfter) = (self.usage(), ProcessUsage.now(processID: 0))
        try await load.pause()
        let arrivals = try await self.reader?.finish()
        let done = count(last) - count(first)
        if done == 0, let failure = last.firstFailure {
            throw failure
        }
        var report = OperationReport(operation: self.operation, seconds: elapsed, operations: done)
        report.errors = last.errors + last.failed - first.errors - first.failed
        report.lost = last.lost
        report.firstFailure = last.firstFailure.map { "\($0)" }
        report.latency = .init(last.latency)
        report.eventsRead = arrivals?.events
        report.endToEnd = arrivals.flatMap { .init($0.latency) }
        report.addUsage(from: (server, own), to: (serverAfter, ownAfter))
        return report
    }

    private func usage() -> ProcessUsage? {
        self.processID.flatMap { ProcessUsage.now(processID: $0) }
    }
}

/// What a load generator found out about one operation; the names are those of its JSON.
struct OperationReport: BenchResult, Codable {
    /// What was counted.
    var operation: String
    /// How long was measured.
    var seconds: Double
    /// How often it was done.
    var operations: UInt64
    /// How often a second.
    var perSecond: Double
    /// Operations and connections that were refused.
    var errors: UInt64 = 0
    /// Connections that were lost.
    var lost: UInt64 = 0
    /// The first failure, for people.
    var firstFailure: String?
    /// How long one took.
    var latency: BenchReport.Latency?
    /// Events of the load that a reader got, when there was one.
    var eventsRead: UInt64?
    /// From the sending of a message to the event decoded.
    var endToEnd: BenchReport.Latency?
    /// What the generator costs.
    var generatorCPUMicrosecondsPerOperation: Double?
    /// What the server costs.
    var serverCPUMicrosecondsPerOperation: Double?
    /// How many cores the server used.
    var serverCores: Double?
    /// The server's memory.
    var serverResidentMiB: Double?

    init(operation: String, seconds: Double, operations: UInt64) {
        self.operation = operation
        self.seconds = seconds
        self.operations = operations
        self.perSecond = Double(operations) / max(seconds, 1e-9)
    }

    var hasFailures: Bool { self.errors > 0 || self.lost > 0 }

    /// Adds what server and generator used between two times.
    mutating func addUsage(
        from before: (server: ProcessUsage?, own: ProcessUsage?),
        to after: (server: ProcessUsage?, own: ProcessUsage?)
    ) {
        let each = 1e6 / Double(max(1, self.operations))
        if let old = before.own, let new = after.own {
            self.generatorCPUMicrosecondsPerOperation = (new.cpuSeconds - old.cpuSeconds) * each
        }
        if let old = before.server, let new = after.server {
            self.serverCPUMicrosecondsPerOperation = (new.cpuSeconds - old.cpuSeconds) * each
            self.serverCores = (new.cpuSeconds - old.cpuSeconds) / max(self.seconds, 1e-9)
            self.serverResidentMiB = Double(new.residentKiB) / 1024
        }
    }

    /// The lines for people.
    var lines: [String] {
        var lines = [
            BenchReport.line(
                self.operation,
                "\(grouped(Int(self.perSecond)))/s (\(grouped(self.operations)) in \(fixed(self.seconds, digits: 1)) s), "
                    + "refused \(grouped(self.errors)), lost connections \(grouped(self.lost))"
            )
        ]
        if let firstFailure {
            lines.append(BenchReport.line("first failure", firstFailure))
        }
        if let latency {
            lines.append(BenchReport.line("latency", latency.text))
        }
        if let eventsRead {
            lines.append(BenchReport.line("events read", grouped(eventsRead)))
        }
        if let endToEnd {
            lines.append(BenchReport.line("end to end", endToEnd.text))
        }
        if let cpu = self.generatorCPUMicrosecondsPerOperation {
            lines.append(BenchReport.line("generator", "\(fixed(cpu, digits: 2)) us CPU each"))
        }
        if let cpu = self.serverCPUMicrosecondsPerOperation, let cores = self.serverCores {
            let memory = self.serverResidentMiB.map { ", \(fixed($0, digits: 0)) MiB resident" } ?? ""
            let text = "\(fixed(cpu, digits: 2)) us CPU each, \(fixed(cores, digits: 2)) cores\(memory)"
            lines.append(BenchReport.line("server", text))
        }
        return lines
    }
}

extension MeasuredLoad {
    /// Waits until so many devices are set up.
    ///
    /// - Throws: ``HubClientError``: the first failure when one cannot be set up, or when that takes a minute.
    func waitUntilReady(_ count: Int) async throws {
        let deadline = ContinuousClock.now + .seconds(60)
        while true {
            let figures = try await self.figures()
            if figures.ready >= count {
                return
            }
            if let failure = figures.firstFailure {
                throw failure
            }
            guard ContinuousClock.now < deadline else {
                throw HubClientError.timedOut(waitingFor: "devices to be set up")
            }
            try await Task.sleep(for: .milliseconds(20))
        }
    }
}
