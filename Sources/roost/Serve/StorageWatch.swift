// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import HubModel
import HubTransport
import Logging
import ServiceLifecycle

/// While messages can't be stored, lets connections in slowly: a fleet that reconnects again and again should not keep the
/// hub from what it still can do.
struct StorageWatch: Service {
    let events: any EventStore
    let gate: ConnectionGate
    let logger: Logger
    var connectionsPerSecond = 50
    var interval = Duration.milliseconds(250)

    func run() async {
        await cancelWhenGracefulShutdown {
            var wasWritable = true
            while !Task.isCancelled {
                let isWritable = events.isWritable
                if isWritable != wasWritable { changed(isWritable) }
                wasWritable = isWritable
                do {
                    try await Task.sleep(for: interval)
                } catch {
                    return
                }
            }
        }
    }

    private func changed(_ isWritable: Bool) {
        gate.limitRate(perSecond: isWritable ? nil : connectionsPerSecond)
        if isWritable {
            logger.notice("messages are taken in again")
        } else {
            logger.error(
                "messages can't be stored and are not taken in until they can; look at the disk of the data directory"
            )
        }
    }
}
