// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import HubTransport
import ServiceLifecycle

/// All listeners as one service, so that they stop at the same time and the wait for connections is one wait.
struct ListenerGroup: Service {
    let listeners: [Listener]

    func run() async throws {
        try await withThrowingTaskGroup(of: Void.self) { tasks in
            for listener in listeners { tasks.addTask { try await listener.run() } }
            try await tasks.waitForAll()
        }
    }

    /// Takes all ports, or none.
    ///
    /// - Throws: `ListenError` for the first one that can't be had.
    func bind() async throws {
        do {
            for listener in listeners { try await listener.bind() }
        } catch {
            await stop()
            throw error
        }
    }

    /// Stops all that are open, at the same time.
    func stop() async {
        await withTaskGroup(of: Void.self) { tasks in
            for listener in listeners { tasks.addTask { await listener.stop() } }
        }
    }

    /// The port of a listener, nil where it is not open.
    func port(_ name: String) -> Int? {
        listeners.first { $0.name == name }?.port
    }
}
