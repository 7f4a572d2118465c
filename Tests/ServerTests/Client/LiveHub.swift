// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import HubClient
import Synchronization

@testable import roost

/// A whole hub in this process as the commands see it: by the file in its data directory.
struct LiveHub {
    /// The hub itself.
    let running: RunningHub

    /// Runs `body` beside a serving hub, and stops the hub in order afterwards.
    static func with(_ body: (LiveHub) async throws -> Void) async throws {
        let directory = try TemporaryDirectory()
        defer { directory.remove() }
        let running = try await RunningHub.start(in: directory) { $0.events.consumerGroups = ["other"] }
        do {
            try await body(LiveHub(running: running))
        } catch {
            try await running.stop()
            throw error
        }
        try await running.stop()
    }

    /// What a command with `--data` talks to.
    func target(plain: Bool = false) throws -> HubTarget {
        try HubTarget(dataDirectory: self.running.server.directory.path, plain: plain)
    }
}

/// Events decoded, gathered across threads.
final class GatheredEvents: Sendable {
    private let state = Mutex<[ReceivedEvent]>([])

    var events: [ReceivedEvent] { self.state.withLock { $0 } }

    func add(_ event: ArrivedEvent) {
        guard let event = try? ReceivedEvent(event) else { return }
        self.state.withLock { $0.append(event) }
    }
}
