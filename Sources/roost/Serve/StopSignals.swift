// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import Glibc
import ServiceLifecycle
import UnixSignals

/// Turns the first SIGTERM or SIGINT into an orderly stop and the second into an immediate one; SIGHUP reloads certificates.
struct StopSignals: Sendable {
    let stop: @Sendable () async -> Void
    let reload: @Sendable () -> Void
    let log: LogSink

    /// Runs until cancelled.
    func run() async {
        var stopping = false
        for await signal in await UnixSignalsSequence(trapping: .sigterm, .sigint, .sighup) {
            if signal == .sighup {
                reload()
            } else if stopping {
                // What was acknowledged is on the disk already, so there is nothing to wait for.
                log.flush()
                _exit(130)
            } else {
                stopping = true
                await stop()
            }
        }
    }
}
