// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import Hub
import ServiceLifecycle

/// Stores what is known of connections while the hub runs, and once more when the last of them has ended.
struct PresenceService: Service {
    let presences: Presences

    func run() async {
        await cancelWhenGracefulShutdown {
            await presences.run()
        }
        await presences.store(includingActivity: true)
    }
}
