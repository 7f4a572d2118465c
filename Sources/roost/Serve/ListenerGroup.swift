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

    /// The port of a listener, nil where it is not open.
    func port(_ name: String) -> Int? {
        listeners.first { $0.name == name }?.port
    }
}
