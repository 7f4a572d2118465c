// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import Logging
import NIOCore

/// What `check` and `repair` found.
public struct LogCheckReport: Sendable, Equatable {
    /// Journal files of the log.
    public var files = 0
    /// Valid frames of events.
    public var frames = 0
    /// Events in them.
    public var events = 0
    /// Damage below a durable position.
    public var damage: [LogDamage] = []
    /// Partitions that miss events because of it.
    public var damagedPartitions: [Int] = []
    /// What a crash tore behind the last durable position; no event that was acknowledged.
    public var torn: String?
}

extension EventLog {
    /// Reads every byte of a log that nobody has open, and changes nothing.
    public static func check(
        _ configuration: EventLogConfiguration,
        fileSystem: any LogFileSystem = PosixFileSystem()
    ) throws -> LogCheckReport {
        var recovery = LogRecovery(configuration, fileSystem, scansAll: true)
        try recovery.run()
        return recovery.checkReport
    }

    /// Accepts that damaged events are lost, so that their partitions take events again.
    ///
    /// The numbers of lost events are not given again; the journal files stay as they are, only their checkpoints are
    /// written anew.
    public static func repair(
        _ configuration: EventLogConfiguration,
        fileSystem: any LogFileSystem = PosixFileSystem()
    ) throws -> LogCheckReport {
        var recovery = LogRecovery(configuration, fileSystem, scansAll: true)
        try recovery.run()
        var end = LogPosition.zero
        for source in recovery.sources {
            var index = source.index
            // A file whose first frame is damaged does not say which file was before it.
            if index.previous == .zero { index.previous = end }
            let name = JournalFile.indexName(index.epoch)
            let journal = try fileSystem.open(
                configuration.directory + "/" + JournalFile.name(index.epoch),
                create: false
            )
            defer { journal.close() }
            try journal.sync()
            try fileSystem.replace(configuration.directory + "/" + name, with: index.encode())
            end = LogPosition(epoch: index.epoch, byte: index.endByte)
        }
        try fileSystem.syncDirectory(configuration.directory)
        return recovery.checkReport
    }
}

extension LogRecovery {
    var checkReport: LogCheckReport {
        var report = LogCheckReport()
        report.files = sources.count
        for source in sources {
            for frame in source.scan?.frames ?? [] where frame.snapshot == nil {
                report.frames += 1
                report.events += frame.header.count
            }
        }
        report.damage = damage
        report.damagedPartitions = damagedPartitions.sorted()
        report.torn = cut.map { "\($0.file) from byte \($0.bytes.lowerBound)" }
        return report
    }

    /// What readers may see at start: without the frames that have to be made durable elsewhere first.
    var visibleCursors: [PartitionCursor] {
        var visible = cursors
        for frame in carried.reversed() {
            visible[frame.header.partition].nextSequence = frame.header.firstSequence
            visible[frame.header.partition].nextOffset = frame.header.firstOffset
        }
        return visible
    }

    var filesState: LogFiles.State {
        var state = LogFiles.State(nextEpoch: nextEpoch)
        state.closed = sources.map { source in
            LogFiles.Closed(
                epoch: source.index.epoch,
                bytes: Int64(configuration.fileBytes),
                endByte: source.index.endByte,
                lastMilliseconds: source.index.lastMilliseconds
            )
        }
        state.spare = hasSpare ? .ready : .none
        state.unsaved = sources.filter { $0.scan != nil && $0.damage.isEmpty }.map(\.index)
        // Where something is damaged, nothing is thrown away that could help to understand it.
        state.discarded = damage.isEmpty ? leftovers : []
        return state
    }

    func report(to logger: Logger) {
        if let cut {
            logger.warning(
                "A write that a crash interrupted was cut from the event log; nothing of it was acknowledged",
                metadata: ["file": "\(cut.file)", "byte": "\(cut.bytes.lowerBound)"]
            )
        }
        for damage in damage {
            logger.error("The event log is damaged; run 'roost log check'", metadata: ["place": "\(damage)"])
        }
        for partition in damagedPartitions.sorted() {
            logger.error(
                "The partition takes no events until 'roost log repair'",
                metadata: ["partition": "\(partition)"]
            )
        }
    }
}
