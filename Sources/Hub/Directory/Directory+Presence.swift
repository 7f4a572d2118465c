// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import HubModel
import Synchronization

/// What of the directory is yet to be stored.
extension Directory {
    /// Takes what changed since it was last taken; it counts as stored until somebody says otherwise.
    func takeUnstored(includingActivity: Bool) -> [PresenceRecord] {
        self.shards.flatMap { shard in
            shard.state.withLock { state -> [PresenceRecord] in
                var ids = state.unstored
                state.unstored.removeAll()
                if includingActivity {
                    for (id, known) in state.known where !ids.contains(id) {
                        let activity = state.presence(of: id)?.lastActivityMilliseconds ?? 0
                        if activity > known.storedActivity { ids.insert(id) }
                    }
                }
                return ids.compactMap { id in
                    guard let known = state.known[id], let presence = state.presence(of: id) else { return nil }
                    return PresenceRecord(id: id, generationID: known.generationID, presence: presence)
                }
            }
        }
    }

    /// Forgets what was stored of those that are not connected.
    func markStored(_ records: [PresenceRecord]) {
        for record in records {
            self.shard(record.id).state.withLock { state in
                state.known[record.id]?.storedActivity = record.presence.lastActivityMilliseconds
                let isCurrent = !state.unstored.contains(record.id) && !state.isConnected(record.id)
                if isCurrent { state.known[record.id] = nil }
            }
        }
    }

    /// Notes that something was not stored after all.
    func markUnstored(_ records: [PresenceRecord]) {
        for record in records {
            self.shard(record.id).state.withLock { state in
                if state.known[record.id] != nil { state.unstored.insert(record.id) }
            }
        }
    }
}
