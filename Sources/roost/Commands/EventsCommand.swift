// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import HubClient

/// `roost events`: a live tail of the built-in endpoint.
struct EventsCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "events",
        abstract: "Show events as they come, until interrupted.",
        discussion: """
            Each line has partition/sequence number, the time of enqueuing, the device, the application's properties \
            and the body. It reads as an Event Hubs client without an owner level: at most five such readers share a \
            partition of a consumer group.
            """
    )

    @Option(name: .long, help: .init("The consumer group.", valueName: "name"))
    var consumerGroup = "$Default"

    @Option(
        name: .long,
        help: .init(
            "Where to start: start, end, sequence:N, offset:N or time:2026-01-31T12:00:00Z.",
            valueName: "position"
        ),
        transform: EventPosition.init(option:)
    )
    var from = EventPosition.latest

    @Option(name: .long, help: .init("Only this partition; may be repeated.", valueName: "id"))
    var partition: [String] = []

    @Option(name: .long, help: .init("Only events of this device.", valueName: "id"))
    var device: String?

    @OptionGroup var end: EndOptions

    @OptionGroup var hub: HubOptions
    @OptionGroup var output: OutputOptions

    func validate() throws {
        for partition in self.partition where UInt16(partition) == nil {
            throw ValidationError("--partition is a number, not '\(partition)'.")
        }
    }

    func run() async throws {
        try await reportingErrors {
            var plan = try self.hub.resolve().readerPlan()
            plan.consumerGroup = self.consumerGroup
            plan.start = self.from
            plan.partitions = self.partition.isEmpty ? nil : self.partition
            let printer = EventPrinter(device: self.device, json: self.output.json, count: self.end.count)
            let reader = try await EventReader.open(plan) { printer.received($0) }
            if !self.output.json {
                note("reading partitions \(reader.partitions.joined(separator: ", ")); Ctrl-C ends")
            }
            reader.whenEnded { printer.fail($0) }
            do {
                try await printer.untilDone(patience: self.end.timeout)
                try await reader.close()
            } catch {
                try await reader.close()
                throw error
            }
        }
    }
}

/// Prints events on the reader's thread: a terminal that is slow slows the reading, and nothing piles up here.
final class EventPrinter: Sendable {
    private let device: String?
    private let json: Bool
    private let tail: Tail

    init(device: String?, json: Bool, count: Int?) {
        self.device = device
        self.json = json
        self.tail = Tail(count: count)
    }

    /// Prints an event if it is wanted.
    func received(_ arrived: ArrivedEvent) {
        do throws(HubClientError) {
            let event = try ReceivedEvent(arrived)
            guard self.device == nil || self.device == event.deviceID, self.tail.take() else { return }
            say(self.json ? EventText.json(event) : EventText.line(event))
        } catch {
            self.fail(error)
        }
    }

    /// Ends the waiting with an error.
    func fail(_ error: HubClientError) {
        self.tail.fail(error)
    }

    /// Waits until all wanted events are printed, or until `patience` seconds passed without one.
    ///
    /// - Throws: `CancellationError`, or the ``HubClientError`` of an event that could not be decoded.
    func untilDone(patience: Double?) async throws {
        try await self.tail.untilDone(patience: patience)
    }
}
