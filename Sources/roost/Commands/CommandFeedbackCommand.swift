// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import FoundationEssentials
import HubClient
import Synchronization

/// `roost c2d feedback`: what became of commands.
struct CommandFeedbackCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "feedback",
        abstract: "Show what became of commands that asked for feedback, until interrupted.",
        discussion: """
            Each line has the time, the device, the id of the command and its fate. What is shown is taken out of the \
            feedback queue: another service that reads feedback does not get it.
            """
    )

    @OptionGroup var end: EndOptions

    @OptionGroup var hub: HubOptions
    @OptionGroup var output: OutputOptions

    func run() async throws {
        try await reportingErrors {
            let target = try self.hub.resolve()
            let policy = try target.policy()
            let tail = Tail(count: self.end.count)
            let isJSON = self.output.json
            let receiver = try await FeedbackReceiver.open(
                address: target.address,
                policy: policy.name,
                key: policy.key
            ) { records in
                // A batch is accepted as a whole, so the whole of it is shown.
                for record in records {
                    say(isJSON ? Self.json(record) : Self.line(record))
                }
                tail.shown(records.count)
            }
            receiver.whenEnded { tail.fail($0) }
            do {
                try await tail.untilDone(patience: self.end.timeout)
                await receiver.close()
            } catch {
                await receiver.close()
                throw error
            }
        }
    }

    /// A line for people.
    static func line(_ record: CommandFeedback) -> String {
        [record.enqueuedTimeUtc, record.deviceId, record.originalMessageId ?? "-", record.statusCode].map(printable)
            .joined(separator: "  ")
    }

    /// A line of JSON.
    static func json(_ record: CommandFeedback) -> String {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        guard let data = try? encoder.encode(record) else { preconditionFailure("a record of texts is always JSON") }
        return String(decoding: data, as: UTF8.self)
    }
}

/// Waits for what is shown on another thread.
final class Tail: Sendable {
    private struct State {
        var left: Int?
        var seen = 0
        var failure: HubClientError?
    }

    private let state: Mutex<State>

    /// Waits for so many, or for ever.
    init(count: Int?) {
        self.state = Mutex(State(left: count))
    }

    /// Whether one more is wanted; it is counted as shown if so.
    func take() -> Bool {
        self.state.withLock { state in
            guard state.left != 0 else { return false }
            state.left = state.left.map { $0 - 1 }
            state.seen += 1
            return true
        }
    }

    /// So many were shown.
    func shown(_ count: Int) {
        self.state.withLock { state in
            state.left = state.left.map { max(0, $0 - count) }
            state.seen += count
        }
    }

    /// Ends the waiting with an error.
    func fail(_ error: HubClientError) {
        self.state.withLock { $0.failure = $0.failure ?? error }
    }

    /// Waits until all wanted are shown, until nobody reads them any more, or until `patience` seconds passed without one.
    ///
    /// - Throws: `CancellationError`, or what ``fail(_:)`` was told.
    func untilDone(patience: Double?) async throws {
        var seen = 0
        var since = ContinuousClock.now
        while true {
            let now = self.state.withLock { $0 }
            if let failure = now.failure {
                throw failure
            }
            if now.left == 0 || StandardStreams.hasOutputFailed {
                return
            }
            if now.seen != seen {
                seen = now.seen
                since = .now
            }
            if let patience, since.duration(to: .now) > .seconds(patience) {
                return
            }
            try await Task.sleep(for: .milliseconds(20))
        }
    }
}
