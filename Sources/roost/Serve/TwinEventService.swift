// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import Hub
import NIOCore
import ServiceLifecycle

/// Carries twin change events to the log; what an earlier run left in the outbox comes first.
struct TwinEventService: Service {
    let events: TwinEvents
    let eventLoop: any EventLoop

    func run() async {
        await cancelWhenGracefulShutdown {
            await events.run(on: eventLoop)
        }
    }
}
