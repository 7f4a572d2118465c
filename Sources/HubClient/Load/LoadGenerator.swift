// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import NIOCore

/// Many devices that sign in and publish, made to cost little beside the server that they load.
public final class LoadGenerator: Sendable {
    private let lanes: Lanes<LoadLane>

    private init(lanes: Lanes<LoadLane>) {
        self.lanes = lanes
    }

    /// Runs `body` with a generator and ends its connections and threads afterwards.
    ///
    /// - Parameters:
    ///   - plan: what it does.
    ///   - body: what is done with it.
    /// - Returns: what `body` returns.
    /// - Throws: what `body` throws, and ``HubClientError`` when the certificate authorities cannot be read.
    public static func with<Result: Sendable>(
        _ plan: LoadPlan,
        _ body: (LoadGenerator) async throws -> Result
    ) async throws -> Result {
        let connector = try ClientChannel(address: plan.address, connectTimeout: .seconds(60))
        return try await Lanes.with(threads: plan.threads) { index, loop in
            LoadLane(plan: plan, connector: connector, lane: index, eventLoop: loop)
        } end: { lanes in
            try await lanes.onEach { $0.stop() }
        } _: { lanes in
            try await body(LoadGenerator(lanes: lanes))
        }
    }

    /// Signs every device in; ends when each is signed in or has failed.
    public func connectAll() async throws {
        try await self.lanes.onEachAtOnce { $0.connectAll() }
    }

    /// Starts publishing.
    public func start() async throws {
        try await self.lanes.onEach { $0.start() }
    }

    /// Starts counting latencies.
    public func measure() async throws {
        try await self.lanes.onEach { $0.measure() }
    }

    /// Stops publishing, and leaves the connections open.
    public func pause() async throws {
        try await self.lanes.onEach { $0.pause() }
    }

    /// What happened so far.
    public func figures() async throws -> LoadFigures {
        try await self.lanes.collect { $0.figures }.reduce(into: LoadFigures()) { $0.add($1) }
    }
}
