// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import HubClient
import NIOCore
import Synchronization

/// Reads the events of a load back and tells how long each took.
final class LoadReader: Sendable {
    /// What was read since measuring began.
    struct Arrivals: Sendable {
        /// Events written while measuring that arrived.
        var events: UInt64 = 0
        /// From the writing of the PUBLISH to the event decoded.
        var latency = LatencyHistogram()
    }

    private let reader: EventReader
    private let counter: ArrivalCounter

    private init(reader: EventReader, counter: ArrivalCounter) {
        self.reader = reader
        self.counter = counter
    }

    /// Attaches to all partitions at their end.
    static func open(_ target: HubTarget, consumerGroup: String) async throws -> LoadReader {
        let counter = ArrivalCounter()
        var plan = try target.readerPlan()
        plan.consumerGroup = consumerGroup
        let reader = try await EventReader.open(plan) { event in
            guard let sent = LoadBody.sentNanoseconds(in: event.body.readableBytesView) else { return }
            counter.arrived(sentNanoseconds: sent)
        }
        return LoadReader(reader: reader, counter: counter)
    }

    /// Runs `body` with a reader at the end of all partitions, and closes it afterwards.
    static func with<Result: Sendable>(
        _ target: HubTarget,
        consumerGroup: String,
        _ body: (LoadReader) async throws -> Result
    ) async throws -> Result {
        let reader = try await Self.open(target, consumerGroup: consumerGroup)
        do {
            let result = try await body(reader)
            try await reader.close()
            return result
        } catch {
            try await reader.close()
            throw error
        }
    }

    /// Starts counting: events written from now on.
    func measure() {
        self.counter.measure()
    }

    /// Stops counting events written from now on, and waits for those that are still under way.
    ///
    /// - Returns: what arrived.
    func finish() async throws -> Arrivals {
        self.counter.stop()
        var last = self.counter.arrivals.events
        // What is under way comes within the latency; a reader that is behind is given two seconds without progress.
        for _ in 0..<100 {
            try await Task.sleep(for: .milliseconds(200))
            let now = self.counter.arrivals.events
            guard now != last else { break }
            last = now
        }
        return self.counter.arrivals
    }

    /// Closes the reader.
    func close() async throws {
        try await self.reader.close()
    }
}

/// Counts arrivals on the reader's thread, read from others.
private final class ArrivalCounter: Sendable {
    private struct State {
        var arrivals = LoadReader.Arrivals()
        var from = UInt64.max
        var to = UInt64.max
    }

    private let state = Mutex(State())

    var arrivals: LoadReader.Arrivals {
        self.state.withLock { $0.arrivals }
    }

    func measure() {
        let now = NIODeadline.now().uptimeNanoseconds
        self.state.withLock { $0.from = now }
    }

    func stop() {
        let now = NIODeadline.now().uptimeNanoseconds
        self.state.withLock { $0.to = now }
    }

    func arrived(sentNanoseconds sent: UInt64) {
        let now = NIODeadline.now().uptimeNanoseconds
        self.state.withLock { state in
            guard sent >= state.from, sent < state.to else { return }
            state.arrivals.events += 1
            state.arrivals.latency.add(nanoseconds: now &- sent)
        }
    }
}
