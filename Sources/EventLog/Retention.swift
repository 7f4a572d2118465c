// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import Synchronization

extension LogFiles {
    /// The oldest closed file if time or size say that it goes; no I/O.
    static func expired(_ state: State, _ configuration: EventLogConfiguration, now: Int64) -> Closed? {
        guard let oldest = state.closed.first, state.newestIsDurable || state.closed.count > 1 else { return nil }
        let total = state.closed.reduce(Int64(configuration.fileBytes)) { $0 + $1.bytes }
        let isOld = oldest.lastMilliseconds < now - configuration.retentionMilliseconds
        return isOld || total > configuration.retentionBytes ? oldest : nil
    }

    /// Drops whole files that retention no longer keeps, oldest first; a dropped file becomes the spare where there is none.
    func applyRetention(_ partitions: [PartitionState], now: Int64) throws(LogFileError) {
        while let oldest = state.withLock({ Self.expired($0, configuration, now: now) }) {
            for partition in partitions { partition.drop(through: oldest.epoch) }
            let reuses = state.withLock { state in
                state.unsaved.removeAll { $0.epoch == oldest.epoch }
                state.cached.removeAll { $0.epoch == oldest.epoch }
                return state.spare == .none && oldest.bytes == Int64(configuration.fileBytes)
            }
            var isSpare = false
            let journal = path(JournalFile.name(oldest.epoch))
            if reuses {
                do {
                    try fileSystem.rename(journal, to: path(JournalFile.spareName))
                    isSpare = true
                } catch {
                    // An earlier attempt may have got this far.
                    if error.kind != .notFound { throw error }
                }
            } else {
                try fileSystem.removeExisting(journal)
            }
            // One file at a time, so that a crash never leaves a hole between files: a hole means damage.
            try fileSystem.syncDirectory(configuration.directory)
            state.withLock { state in
                state.closed.removeFirst()
                state.discarded.append(JournalFile.indexName(oldest.epoch))
                if isSpare, state.spare == .none { state.spare = .ready }
            }
        }
    }
}
