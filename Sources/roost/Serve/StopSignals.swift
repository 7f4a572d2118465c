// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import Glibc
import ServiceLifecycle
import UnixSignals

/// Turns the first SIGTERM or SIGINT into an orderly stop and the second into an immediate one; SIGHUP reloads certificates.
struct StopSignals: Sendable {
    private let signals: UnixSignalsSequence
    private let stop: @Sendable () async -> Void
    private let reload: @Sendable () -> Void
    private let log: LogSink

    /// Catches the signals from here on; what arrives before `run` waits for it.
    init(stop: @escaping @Sendable () async -> Void, reload: @escaping @Sendable () -> Void, log: LogSink) async {
        self.signals = await UnixSignalsSequence(trapping: .sigterm, .sigint, .sighup)
        self.stop = stop
        self.reload = reload
        self.log = log
    }

    /// Runs until cancelled.
    func run() async {
        var stopping = false
        for await signal in signals {
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
