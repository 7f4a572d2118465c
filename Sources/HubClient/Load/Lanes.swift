// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import NIOCore
import NIOPosix

/// Threads of a load, and on each the lane that has its share of the work.
struct Lanes<Lane> {
    /// The lanes, each used on its own loop only.
    let all: [NIOLoopBound<Lane>]

    /// Runs `body` with one lane a thread; ends the lanes and the threads afterwards.
    ///
    /// - Parameters:
    ///   - threads: how many.
    ///   - make: makes the lane of a number, on its loop.
    ///   - end: ends the lanes, whatever became of `body`.
    ///   - body: what is done with them.
    /// - Returns: what `body` returns.
    /// - Throws: what `make`, `body` and `end` throw.
    static func with<Value: Sendable>(
        threads: Int,
        make: @escaping @Sendable (Int, any EventLoop) -> Lane,
        end: (Lanes) async throws -> Void,
        _ body: (Lanes) async throws -> Value
    ) async throws -> Value {
        let group = MultiThreadedEventLoopGroup(numberOfThreads: threads)
        var all: [NIOLoopBound<Lane>] = []
        for index in 0..<threads {
            let loop = group.next()
            all.append(try await loop.submit { NIOLoopBound(make(index, loop), eventLoop: loop) }.get())
        }
        let lanes = Lanes(all: all)
        let outcome: Result<Value, any Error>
        do {
            outcome = .success(try await body(lanes))
        } catch {
            outcome = .failure(error)
        }
        try await end(lanes)
        try await group.shutdownGracefully()
        return try outcome.get()
    }

    /// Does something on the loop of each lane, one after the other.
    func onEach(_ body: @escaping @Sendable (Lane) -> Void) async throws {
        for lane in self.all {
            try await lane.eventLoop.submit { body(lane.value) }.get()
        }
    }

    /// Does something on the loops of all lanes at once; ends when each has ended.
    func onEachAtOnce(_ body: @escaping @Sendable (Lane) -> EventLoopFuture<Void>) async throws {
        try await withThrowingTaskGroup(of: Void.self) { tasks in
            for lane in self.all {
                tasks.addTask { try await lane.eventLoop.flatSubmit { body(lane.value) }.get() }
            }
            try await tasks.waitForAll()
        }
    }

    /// What each lane has to say, in their order.
    func collect<Value: Sendable>(_ body: @escaping @Sendable (Lane) -> Value) async throws -> [Value] {
        var values: [Value] = []
        for lane in self.all {
            values.append(try await lane.eventLoop.submit { body(lane.value) }.get())
        }
        return values
    }
}

extension Lanes: Sendable {}
