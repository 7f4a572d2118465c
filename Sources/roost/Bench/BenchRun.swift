// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import HubClient

/// One run of the load generator, and the reader and the server beside it.
struct BenchRun: Sendable {
    /// What the generator does.
    var plan: LoadPlan
    /// For how long it measures.
    var seconds: Double
    /// For how long it publishes before it measures.
    var warmUpSeconds: Double
    /// Whether it only holds the connections.
    var isIdle: Bool
    /// The server's process, when it is on this machine.
    var processID: Int32?
    /// Reads the events back, when that was asked.
    var reader: LoadReader?

    /// Runs it.
    ///
    /// - Parameter progress: called with each line for people as soon as it is known.
    /// - Returns: the figures.
    /// - Throws: ``HubClientError`` when nothing could be measured.
    func run(progress: @Sendable (String) -> Void) async throws -> BenchReport {
        let before = self.usage()
        return try await LoadGenerator.with(self.plan) { generator in
            let start = ContinuousClock.now
            try await generator.connectAll()
            let elapsed = start.duration(to: .now).seconds
            let figures = try await generator.figures()
            if figures.connected == 0, let failure = figures.firstFailure {
                throw failure
            }
            let after = self.usage()
            let connected = Double(max(1, figures.connected))
            var report = BenchReport(
                connecting: .init(
                    devices: self.plan.devices,
                    connected: figures.connected,
                    failed: figures.failed,
                    seconds: elapsed,
                    perSecond: Double(figures.connected) / elapsed,
                    serverCPUMicrosecondsPerConnect: difference(after?.cpuSeconds, before?.cpuSeconds, 1e6 / connected),
                    serverResidentKiBPerConnection: difference(
                        after.map { Double($0.residentKiB) },
                        before.map { Double($0.residentKiB) },
                        1 / connected
                    )
                )
            )
            if let failure = figures.firstFailure {
                progress("the first failure: \(failure)")
            }
            report.lines.forEach(progress)
            let alreadyTold = report.lines.count
            if self.isIdle {
                report.idle = try await self.idle(generator, before: before, connected: figures)
            } else {
                report.publishing = try await self.publish(generator, failedBefore: figures.failed)
            }
            report.lines.dropFirst(alreadyTold).forEach(progress)
            return report
        }
    }

    private func idle(
        _ generator: LoadGenerator,
        before: ProcessUsage?,
        connected: LoadFigures
    ) async throws -> BenchReport.Idle {
        try await Task.sleep(for: .seconds(self.seconds))
        let figures = try await generator.figures()
        let usage = self.usage()
        return .init(
            seconds: self.seconds,
            lost: figures.failed - connected.failed,
            serverResidentKiBPerConnection: difference(
                usage.map { Double($0.residentKiB) },
                before.map { Double($0.residentKiB) },
                1 / Double(max(1, connected.connected))
            )
        )
    }

    private func publish(_ generator: LoadGenerator, failedBefore: Int) async throws -> BenchReport.Publishing {
        try await generator.start()
        try await Task.sleep(for: .seconds(self.warmUpSeconds))
        let first = try await generator.figures()
        let server = self.usage()
        let own = ProcessUsage.now(processID: 0)
        let start = ContinuousClock.now
        try await generator.measure()
        self.reader?.measure()
        try await Task.sleep(for: .seconds(self.seconds))
        let last = try await generator.figures()
        let elapsed = start.duration(to: .now).seconds
        let serverAfter = self.usage()
        let ownAfter = ProcessUsage.now(processID: 0)
        try await generator.pause()
        let arrivals = try await self.reader?.finish()
        let isAcknowledged = self.plan.isAcknowledged
        let count = isAcknowledged ? last.acknowledged - first.acknowledged : last.sent - first.sent
        let perMessage = 1e6 / Double(max(1, count))
        return .init(
            seconds: elapsed,
            qos: isAcknowledged ? 1 : 0,
            bodyBytes: self.plan.bodyBytes,
            window: self.plan.window,
            messages: count,
            messagesPerSecond: Double(count) / elapsed,
            lost: last.failed - failedBefore,
            puback: .init(last.latency),
            eventsRead: arrivals?.events,
            endToEnd: arrivals.flatMap { .init($0.latency) },
            generatorCPUMicrosecondsPerMessage: difference(ownAfter?.cpuSeconds, own?.cpuSeconds, perMessage),
            serverCPUMicrosecondsPerMessage: difference(serverAfter?.cpuSeconds, server?.cpuSeconds, perMessage),
            serverCores: difference(serverAfter?.cpuSeconds, server?.cpuSeconds, 1 / elapsed),
            serverResidentMiB: serverAfter.map { Double($0.residentKiB) / 1024 }
        )
    }

    private func usage() -> ProcessUsage? {
        self.processID.flatMap { ProcessUsage.now(processID: $0) }
    }
}

/// How much a figure grew, in another unit; nil when one of the two is not known.
private func difference(_ after: Double?, _ before: Double?, _ scale: Double) -> Double? {
    guard let after, let before else { return nil }
    return (after - before) * scale
}

extension Duration {
    /// Seconds with their fraction.
    fileprivate var seconds: Double {
        Double(self.nanoseconds) / 1e9
    }
}
