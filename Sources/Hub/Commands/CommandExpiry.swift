// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import HubModel
import Logging

/// Ends commands whose time is over, and lets commands whose locks timed out come again.
///
/// Only the promptness of it: no step hands out what is over, or takes a lock that timed out for one.
public struct CommandExpiry: Sendable {
    private let commands: Commands
    private let interval: Duration
    private let logger: Logger

    init(commands: Commands, limits: CommandLimits, logger: Logger) {
        self.commands = commands
        self.interval = .milliseconds(limits.sweepMilliseconds)
        self.logger = logger
    }

    /// Looks through the queues again and again until the task is cancelled; called once.
    public func run() async {
        var isFailing = false
        while !Task.isCancelled {
            do {
                let hasMore = try await self.commands.sweep()
                isFailing = false
                if hasMore { continue }
            } catch {
                if !isFailing {
                    self.logger.warning("queues of commands can't be tidied", metadata: ["reason": "\(error)"])
                }
                isFailing = true
            }
            do { try await Task.sleep(for: self.interval) } catch { return }
        }
    }
}
