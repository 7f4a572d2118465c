// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import NIOCore
import NIOPosix

/// Many devices that sign in and publish, made to cost little beside the server that they load.
public final class LoadGenerator: Sendable {
    private let group: MultiThreadedEventLoopGroup
    private let lanes: [NIOLoopBound<LoadLane>]

    private init(group: MultiThreadedEventLoopGroup, lanes: [NIOLoopBound<LoadLane>]) {
        self.group = group
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
        let group = MultiThreadedEventLoopGroup(numberOfThreads: plan.threads)
        var lanes: [NIOLoopBound<LoadLane>] = []
        for index in 0..<plan.threads {
            let loop = group.next()
            lanes.append(
                try await loop.submit {
                    NIOLoopBound(
                        LoadLane(plan: plan, connector: connector, lane: index, eventLoop: loop),
                        eventLoop: loop
                    )
                }.get()
            )
        }
        let generator = LoadGenerator(group: group, lanes: lanes)
        do {
            let result = try await body(generator)
            try await generator.end()
            return result
        } catch {
            try await generator.end()
            throw error
        }
    }

    /// Signs every device in; ends when each is signed in or has failed.
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

    /// Starts publishing.
    public func start() async throws {
        try await self.onEachLane { $0.start() }
    }

    /// Starts counting latencies.
    public func measure() async throws {
        try await self.onEachLane { $0.measure() }
    }

    /// Stops publishing, and leaves the connections open.
    public func pause() async throws {
        try await self.onEachLane { $0.pause() }
    }

    /// What happened so far.
    public func figures() async throws -> LoadFigures {
        var total = LoadFigures()
        for lane in self.lanes {
            total.add(try await lane.eventLoop.submit { lane.value.figures }.get())
        }
        return total
    }

    private func onEachLane(_ body: @escaping @Sendable (LoadLane) -> Void) async throws {
        for lane in self.lanes {
            try await lane.eventLoop.submit { body(lane.value) }.get()
        }
    }

    private func end() async throws {
        try await self.onEachLane { $0.stop() }
        try await self.group.shutdownGracefully()
    }
}
