// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import Hub
import ServiceLifecycle

/// Ends commands whose time is over.
struct CommandExpiryService: Service {
    let expiry: CommandExpiry

    func run() async {
        await cancelWhenGracefulShutdown {
            await expiry.run()
        }
    }
}
