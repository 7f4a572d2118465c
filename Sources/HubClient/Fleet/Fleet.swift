// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import NIOCore

/// Something that is started, measured for a while, and paused.
public protocol MeasuredLoad: Sendable {
    /// Begins.
    func start() async throws
    /// Starts counting durations.
    func measure() async throws
    /// Begins nothing more; what is under way ends.
    func pause() async throws
    /// What happened so far.
    func figures() async throws -> FleetFigures
}

/// Many devices on a few threads, each doing what its behaviour says.
public final class Fleet: MeasuredLoad {
    let lanes: Lanes<FleetLane>

    private init(lanes: Lanes<FleetLane>) {
        self.lanes = lanes
    }

    /// Runs `body` with a fleet; ends its connections and threads afterwards.
    ///
    /// - Parameters:
    ///   - plan: the devices.
    ///   - behaviour: makes what a device does, on its loop.
    ///   - body: what is done with the fleet.
    /// - Returns: what `body` returns.
    /// - Throws: what `body` throws, and ``HubClientError`` when the certificate authorities cannot be read.
    static func with<Result: Sendable>(
        _ plan: FleetPlan,
        behaviour: @escaping @Sendable (FleetMember) -> any FleetBehaviour,
        _ body: (Fleet) async throws -> Result
    ) async throws -> Result {
        let connector = try ClientChannel(address: plan.address, connectTimeout: plan.limits.connect)
        return try await Lanes.with(threads: plan.threads) { index, loop in
            FleetLane(plan: plan, connector: connector, lane: index, eventLoop: loop, behaviour: behaviour)
        } end: { lanes in
            try await Fleet(lanes: lanes).stop()
        } _: { lanes in
            try await body(Fleet(lanes: lanes))
        }
    }

    /// Connects every device; ends when each was tried once.
    public func connectAll() async throws {
        try await self.lanes.onEachAtOnce { $0.connectAll() }
    }

    /// Lets every device begin its work, those too that connect later.
    public func start() async throws {
        try await self.lanes.onEach { $0.start() }
    }

    /// Starts counting durations.
    public func measure() async throws {
        try await self.lanes.onEach { $0.isMeasuring = true }
    }

    /// Lets no device begin anything more.
    public func pause() async throws {
        try await self.lanes.onEach { $0.pause() }
    }

    /// What happened so far.
    public func figures() async throws -> FleetFigures {
        try await self.lanes.collect { $0.figures }.reduce(into: FleetFigures()) { $0.add($1) }
    }

    /// Signs every device off; ends when each connection is closed.
    public func stop() async throws {
        for lane in self.lanes.all {
            try await lane.eventLoop.flatSubmit { lane.value.stop() }.get()
        }
    }
}
