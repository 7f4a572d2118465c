// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

public import HubModel
import Logging

/// What is known of the connections of identities: of those that are connected in the directory, of all others in a store.
///
/// Changes reach the store in batches, a few seconds late; a crash forgets the last ones, and nothing else rests on them.
public struct Presences: Sendable {
    private static let batchMax = 1_000

    private let directory: Directory
    private let store: any PresenceStore
    private let commands: any CommandStore
    private let limits: PresenceLimits
    private let logger: Logger

    init(
        directory: Directory,
        store: any PresenceStore,
        commands: any CommandStore,
        limits: PresenceLimits,
        logger: Logger
    ) {
        self.directory = directory
        self.store = store
        self.commands = commands
        self.limits = limits
        self.logger = logger
    }

    /// What documents show of some identities; each of them is there.
    ///
    /// - Throws: `HubError` where a store can't tell
    public func activities(of ids: [IdentityID]) async throws -> [IdentityID: IdentityActivity] {
        var activities: [IdentityID: IdentityActivity] = [:]
        var others: [IdentityID] = []
        for id in ids {
            let presence = self.directory.presence(of: id)
            activities[id] = IdentityActivity(presence: presence)
            if presence == nil { others.append(id) }
        }
        // What the directory forgets is stored before.
        for (id, presence) in others.isEmpty ? [:] : try await self.store.presences(of: others) {
            activities[id]?.presence = presence
        }
        let devices = ids.compactMap { $0.module == nil ? $0.device : nil }
        for (device, count) in devices.isEmpty ? [:] : try await self.commands.counts(of: devices) {
            activities[IdentityID(device: device)]?.commandCount = Int32(clamping: count)
        }
        return activities
    }

    /// What documents show of an identity.
    ///
    /// - Throws: `HubError` where a store can't tell
    public func activity(of id: IdentityID) async throws -> IdentityActivity {
        try await self.activities(of: [id])[id] ?? IdentityActivity()
    }

    /// Stores what changes, until the task is cancelled; called once.
    ///
    /// What is there then is for ``store(includingActivity:)``, when the last connection has ended.
    public func run() async {
        let rounds = max(1, self.limits.activitySeconds / max(1, self.limits.storeSeconds))
        var round = 0
        while !Task.isCancelled {
            do { try await Task.sleep(for: .seconds(self.limits.storeSeconds)) } catch { return }
            round += 1
            await self.store(includingActivity: round.isMultiple(of: rounds))
        }
    }

    /// Stores what changed since it was last stored, and forgets of it what need not be in memory.
    ///
    /// - Parameter includingActivity: whether the mere activity of those that stay connected counts as a change
    public func store(includingActivity: Bool) async {
        let records = self.directory.takeUnstored(includingActivity: includingActivity)
        for begin in stride(from: 0, to: records.count, by: Self.batchMax) {
            let batch = Array(records[begin..<min(begin + Self.batchMax, records.count)])
            do {
                try await self.store.put(batch)
                self.directory.markStored(batch)
            } catch {
                self.logger.warning("connection states can't be stored now", metadata: ["reason": "\(error)"])
                return self.directory.markUnstored(Array(records[begin...]))
            }
        }
    }
}
