// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import NIOCore
import Synchronization

/// The open connections of one listener, so that shutdown can reach them.
final class ConnectionTable: Sendable {
    private struct State {
        var channels: [ObjectIdentifier: any Channel] = [:]
        var quiescing = false
        var emptied: EventLoopPromise<Void>?
    }

    private let eventLoop: any EventLoop
    private let state = Mutex(State())

    init(eventLoop: any EventLoop) {
        self.eventLoop = eventLoop
    }

    var count: Int { state.withLock { $0.channels.count } }

    func add(_ channel: any Channel) {
        let id = ObjectIdentifier(channel)
        let quiescing = state.withLock { state in
            state.channels[id] = channel
            return state.quiescing
        }
        channel.closeFuture.whenComplete { [self] _ in remove(id) }
        // Accepted in the moment in which the listener closed.
        if quiescing { channel.close(promise: nil) }
    }

    /// Asks every connection to end, and closes those that are left after `limit`.
    ///
    /// - Returns: how many were left.
    func quiesce(within limit: TimeAmount) async -> Int {
        let promise = eventLoop.makePromise(of: Void.self)
        let channels = state.withLock { state in
            state.quiescing = true
            state.emptied = promise
            return Array(state.channels.values)
        }
        if channels.isEmpty { resolve() }
        for channel in channels { channel.pipeline.fireUserInboundEventTriggered(ChannelShouldQuiesceEvent()) }
        let timer = eventLoop.scheduleTask(in: limit) { [self] in closeAll() }
        await wait(for: promise.futureResult)
        timer.cancel()
        return channels.isEmpty ? 0 : forced.load(ordering: .relaxed)
    }

    private let forced = Atomic(0)

    private func closeAll() {
        let channels = state.withLock { Array($0.channels.values) }
        forced.store(channels.count, ordering: .relaxed)
        for channel in channels { channel.close(promise: nil) }
        // TLS waits for the peer's good-bye while closing; the process doesn't.
        eventLoop.scheduleTask(in: .milliseconds(500)) { [self] in resolve() }
    }

    private func remove(_ id: ObjectIdentifier) {
        let empty = state.withLock { state in
            state.channels[id] = nil
            return state.channels.isEmpty
        }
        if empty { resolve() }
    }

    private func resolve() {
        let promise = state.withLock { state in
            defer { state.emptied = nil }
            return state.emptied
        }
        promise?.succeed()
    }

    private func wait(for future: EventLoopFuture<Void>) async {
        do {
            try await future.get()
        } catch {
            preconditionFailure("the promise of an empty table never fails: \(error)")
        }
    }
}
