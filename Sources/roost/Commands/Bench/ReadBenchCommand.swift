// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import HubClient
import Synchronization

/// `roost bench read`: the built-in endpoint.
struct ReadBenchCommand: OperationLoadCommand {
    static let configuration = CommandConfiguration(
        commandName: "read",
        abstract: "Read the events that are there, as fast as they come.",
        discussion: """
            Reads all partitions over AMQP from a position on, until no event has come for a while or the time is over. \
            Another load must have filled the hub.
            """
    )

    @Option(
        name: .long,
        help: .init("Where to start: start, sequence:N, offset:N or time:2026-01-31T12:00:00Z.", valueName: "position"),
        transform: EventPosition.init(option:)
    )
    var from = EventPosition.earliest

    @Option(name: .long, help: .init("The consumer group.", valueName: "name"))
    var consumerGroup = "$Default"

    @Option(name: .long, help: .init("Events of a partition that may come at once.", valueName: "count"))
    var credit: UInt32 = 1000

    @Option(name: .long, help: .init("Read at most so long.", valueName: "seconds"))
    var seconds = 10.0

    @Option(name: .long, help: .init("End when so long no event has come.", valueName: "seconds"))
    var patience = 1.0

    @Option(name: .long, help: .init("The server's process, if hub.json does not tell.", valueName: "pid"))
    var pid: Int32?

    @OptionGroup var hub: HubOptions
    @OptionGroup var output: OutputOptions

    var hubOptions: HubOptions { self.hub }
    var outputOptions: OutputOptions { self.output }

    func validate() throws {
        try BenchOptions.check((0.1...86_400).contains(self.seconds), "--seconds is 0.1 to 86400.")
        try BenchOptions.check((0.1...3600).contains(self.patience), "--patience is 0.1 to 3600.")
        try BenchOptions.check((1...100_000).contains(self.credit), "--credit is 1 to 100000.")
    }

    /// Reads and measures.
    func measured(_ target: HubTarget) async throws -> OperationReport {
        var plan = try target.readerPlan()
        plan.consumerGroup = self.consumerGroup
        plan.start = self.from
        plan.credit = self.credit
        let processID = self.pid ?? target.file?.processID
        let count = EventCount()
        let before = Self.usage(processID)
        let start = ContinuousClock.now
        let reader = try await EventReader.open(plan) { _ in count.add() }
        reader.whenEnded { count.failed($0) }
        // A hub that is slow to let the reader in does not use up its patience.
        var lastNews = ContinuousClock.now
        var (seen, after, end) = (UInt64(0), before, start)
        while ContinuousClock.now < start + .seconds(self.seconds) {
            let (events, failure) = count.now
            if let failure {
                throw failure
            }
            if events != seen {
                (seen, after, end) = (events, Self.usage(processID), .now)
                lastNews = end
            } else if lastNews.duration(to: .now) > .seconds(self.patience) {
                break
            }
            try await Task.sleep(for: .milliseconds(20))
        }
        try await reader.close()
        let seconds = Double(start.duration(to: end).nanoseconds) / 1e9
        var report = OperationReport(operation: "events read", seconds: seconds, operations: seen)
        report.addUsage(from: before, to: after)
        return report
    }

    private static func usage(_ processID: Int32?) -> (server: ProcessUsage?, own: ProcessUsage?) {
        (processID.flatMap { ProcessUsage.now(processID: $0) }, ProcessUsage.now(processID: 0))
    }
}

/// Counts events on the reader's thread, read from another.
private final class EventCount: Sendable {
    private let events = Atomic<UInt64>(0)
    private let failure = Mutex<HubClientError?>(nil)

    var now: (events: UInt64, failure: HubClientError?) {
        (self.events.load(ordering: .relaxed), self.failure.withLock { $0 })
    }

    func add() { self.events.add(1, ordering: .relaxed) }

    func failed(_ error: HubClientError) { self.failure.withLock { $0 = $0 ?? error } }
}
