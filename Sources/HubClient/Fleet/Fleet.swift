// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import NIOCore
import NIOPosix

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
    private let group: MultiThreadedEventLoopGroup
    let lanes: [NIOLoopBound<FleetLane>]

    private init(group: MultiThreadedEventLoopGroup, lanes: [NIOLoopBound<FleetLane>]) {
        self.group = group
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
        let group = MultiThreadedEventLoopGroup(numberOfThreads: plan.threads)
        var lanes: [NIOLoopBound<FleetLane>] = []
        for index in 0..<plan.threads {
            let loop = group.next()
            lanes.append(
                try await loop.submit {
                    let lane = FleetLane(
                        plan: plan,
                        connector: connector,
                        lane: index,
                        eventLoop: loop,
                        behaviour: behaviour
                    )
                    return NIOLoopBound(lane, eventLoop: loop)
                }.get()
            )
        }
        let fleet = Fleet(group: group, lanes: lanes)
        do {
            let result = try await body(fleet)
            try await fleet.end()
            return result
        } catch {
            try await fleet.end()
            throw error
        }
    }

    /// Connects every device; ends when each was tried once.
    public func connectAll() async throws {
        try await withThrowingTaskGroup(of: Void.self) { tasks in
            for lane in self.lanes {
                tasks.addTask {
                    try await lane.eventLoop.flatSubmit { lane.value.connectAll() }.get()
                }
            }
            try await tasks.waitForAll()
        }
    }

    /// Lets every device begin its work, those too that connect later.
    public func start() async throws {
        try await self.onEachLane { $0.start() }
    }

    /// Starts counting durations.
    public func measure() async throws {
        try await self.onEachLane { $0.isMeasuring = true }
    }

    /// Lets no device begin anything more.
    public func pause() async throws {
        try await self.onEachLane { $0.pause() }
    }

    /// What happened so far.
    public func figures() async throws -> FleetFigures {
        var total = FleetFigures()
        for lane in self.lanes {
            total.add(try await lane.eventLoop.submit { lane.value.figures }.get())
        }
        return total
    }

    /// Signs every device off; ends when each connection is closed.
    public func stop() async throws {
        for lane in self.lanes {
            try await lane.eventLoop.flatSubmit { lane.value.stop() }.get()
        }
    }

    private func onEachLane(_ body: @escaping @Sendable (FleetLane) -> Void) async throws {
        for lane in self.lanes {
            try await lane.eventLoop.submit { body(lane.value) }.get()
        }
    }

    private func end() async throws {
        try await self.stop()
        try await self.group.shutdownGracefully()
    }
}
