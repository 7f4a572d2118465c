// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import HubClient

/// The options of loads whose events can be read back while they last.
struct ReadBackOptions: ParsableArguments {
    @Flag(name: .long, help: "Read the events back and tell the end-to-end latency.")
    var read = false

    @Option(name: .long, help: .init("The consumer group to read with.", valueName: "name"))
    var consumerGroup = "$Default"

    /// Refuses bodies that have no room for the time they were sent.
    func check(bodyBytes: Int) throws {
        try BenchOptions.check(
            !self.read || bodyBytes >= LoadBody.bytesMin,
            "with --read a message carries its time: --size is at least \(LoadBody.bytesMin)."
        )
    }

    /// Runs `body` with a reader of all events, if one is wanted.
    func withReader<Result: Sendable>(
        of target: HubTarget,
        _ body: @Sendable (LoadReader?) async throws -> Result
    ) async throws -> Result {
        guard self.read else { return try await body(nil) }
        return try await LoadReader.with(target, consumerGroup: self.consumerGroup) { try await body($0) }
    }
}
