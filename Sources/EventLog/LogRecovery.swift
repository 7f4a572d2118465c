// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import Logging
import NIOCore

/// Damage that was found below a durable position: reported, never cut.
public struct LogDamage: Sendable, Equatable, CustomStringConvertible {
    /// Name of the journal file.
    public var file: String
    /// The bytes that hold no valid frame.
    public var bytes: Range<Int>

    /// Where it is.
    public var description: String { "\(file) bytes \(bytes.lowerBound) to \(bytes.upperBound - 1)" }
}

/// Finds out what a directory holds: which files belong to the log, where it ends, what is damaged.
///
/// Reads only.
struct LogRecovery {
    /// One file of the log: its checkpoint, or what a scan found.
    struct Source {
        var index: FileIndex
        var scan: JournalScan?
        var damage: [LogDamage] = []
    }

    let configuration: EventLogConfiguration
    let fileSystem: any LogFileSystem
    /// Scan every file, also those that have a valid checkpoint: for check and repair.
    let scansAll: Bool

    /// The files of the log, oldest first.
    private(set) var sources: [Source] = []
    /// Journal files and indexes that belong to nothing.
    private(set) var leftovers: [String] = []
    /// What the next event of each partition gets.
    private(set) var cursors: [PartitionCursor]
    private(set) var damage: [LogDamage] = []
    private(set) var damagedPartitions: Set<Int> = []
    /// What was torn and is cut, in the newest file.
    private(set) var cut: (file: String, bytes: Range<Int>)?
    /// Frames behind the last proved durable position of the newest file, to be written again elsewhere: that file might
    /// be one whose sync failed, and reading it back proves nothing.
    private(set) var carried: [(header: FrameHeader, payload: ByteBuffer)] = []
    private(set) var nextEpoch: UInt32 = 1
    private(set) var hasSpare = false
    /// End of the log in the files that stay.
    private(set) var end = LogPosition.zero

    private var uncertain: Set<Int> = []
    private var uncertainBytes = 0

    init(_ configuration: EventLogConfiguration, _ fileSystem: any LogFileSystem, scansAll: Bool = false) {
        self.configuration = configuration
        self.fileSystem = fileSystem
        self.scansAll = scansAll
        cursors = Array(repeating: PartitionCursor(), count: configuration.partitionCount)
    }

    /// Looks at the directory.
    mutating func run() throws {
        let names = try fileSystem.list(configuration.directory)
        hasSpare = names.contains(JournalFile.spareName)
        let epochs = names.compactMap { JournalFile.epoch(of: $0, suffix: ".journal") }.sorted()
        let indexes = names.compactMap { JournalFile.epoch(of: $0, suffix: ".index") }
        nextEpoch = (max(epochs.last ?? 0, indexes.max() ?? 0)) + 1
        try walkChain(epochs, Set(indexes))
        let live = Set(sources.map(\.index.epoch))
        leftovers = epochs.filter { !live.contains($0) }.map(JournalFile.name)
        leftovers += indexes.filter { !live.contains($0) }.map(JournalFile.indexName)
        // Not those of journal files: the next one may have the same name.
        leftovers += names.filter { $0.hasSuffix(".index.new") }
        for position in sources.indices { accumulate(position) }
        settleUncertain()
        try carryNewest()
    }

    /// Follows the files from the newest to the oldest by what each has on record of the one before it.
    private mutating func walkChain(_ epochs: [UInt32], _ indexes: Set<UInt32>) throws {
        var rest = epochs
        var endOfNext: LogPosition?
        var previousKnown = false
        while let epoch = rest.popLast() {
            if previousKnown, let end = endOfNext {
                if epoch > end.epoch { continue }
                if epoch < end.epoch {
                    // The file that should be here is missing although older ones are there: retention drops the oldest.
                    damage.append(LogDamage(file: JournalFile.name(end.epoch), bytes: 0..<end.byte))
                    endOfNext = nil
                }
            }
            guard let source = try read(epoch, end: endOfNext?.byte, hasIndex: indexes.contains(epoch)) else {
                continue
            }
            sources.append(source)
            let previous = source.scan.map(\.previous) ?? source.index.previous
            endOfNext = previous
            previousKnown = previous != nil
            if previous?.epoch == 0 { break }
        }
        sources.reverse()
    }

    /// Reads a file's checkpoint, or scans it.
    ///
    /// Nil when the file holds nothing of the log.
    private func read(_ epoch: UInt32, end: Int?, hasIndex: Bool) throws -> Source? {
        var known: FileIndex?
        if hasIndex {
            let path = configuration.directory + "/" + JournalFile.indexName(epoch)
            let bytes = FileIndex.headBytes(partitions: configuration.partitionCount)
            let file = try fileSystem.open(path, create: false)
            defer { file.close() }
            known = try FileIndex.decode(
                file.readAll(bytes, at: 0),
                epoch: epoch,
                partitions: configuration.partitionCount,
                withEntries: false
            )
            if let known, !scansAll { return Source(index: known) }
        }
        let scan = try Self.scan(configuration, fileSystem, epoch: epoch, end: end ?? known?.endByte)
        guard scan.isLive else { return nil }
        // Frames behind the last proof are written again elsewhere, see `carried`.
        let kept = sources.isEmpty && known == nil && !scansAll ? scan.durableByte : scan.endByte
        let index = FileIndex(
            epoch: epoch,
            previous: scan.previous ?? .zero,
            endByte: kept,
            cursors: known?.cursors ?? [],
            entries: scan.entries(partitions: configuration.partitionCount, before: kept)
        )
        let damage = scan.damage.map { LogDamage(file: JournalFile.name(epoch), bytes: $0) }
        return Source(index: index, scan: scan, damage: damage)
    }

    static func scan(
        _ configuration: EventLogConfiguration,
        _ fileSystem: any LogFileSystem,
        epoch: UInt32,
        end: Int?
    ) throws -> JournalScan {
        let file = try fileSystem.open(configuration.directory + "/" + JournalFile.name(epoch), create: false)
        defer { file.close() }
        let content = try file.readAll(end ?? Int(file.size()), at: 0)
        return JournalScan(content, epoch: epoch, partitions: configuration.partitionCount, end: end)
    }

    /// Takes a file's numbers, and finds the partitions that damage has hit: those whose numbers jump behind it.
    private mutating func accumulate(_ position: Int) {
        damage += sources[position].damage
        guard let scan = sources[position].scan else {
            for (partition, cursor) in sources[position].index.cursors.enumerated() {
                take(partition, cursor, from: cursor)
            }
            return
        }
        var regions = scan.damage[...]
        for frame in scan.frames {
            while let region = regions.first, region.lowerBound < frame.header.position.byte {
                doubt(region.count)
                regions.removeFirst()
            }
            if let snapshot = frame.snapshot {
                for (partition, cursor) in snapshot.enumerated() { take(partition, cursor, from: cursor) }
            } else {
                var start = PartitionCursor()
                start.nextSequence = frame.header.firstSequence
                start.nextOffset = frame.header.firstOffset
                take(frame.header.partition, frame.cursor, from: start)
            }
        }
        for region in regions { doubt(region.count) }
        for (partition, cursor) in sources[position].index.cursors.enumerated() {
            take(partition, cursor, from: cursor)
        }
        sources[position].index.cursors = cursors
    }

    private mutating func doubt(_ bytes: Int) {
        uncertain = Set(0..<configuration.partitionCount)
        uncertainBytes += bytes
    }

    private mutating func take(_ partition: Int, _ cursor: PartitionCursor, from start: PartitionCursor) {
        if uncertain.remove(partition) != nil, start.nextOffset > cursors[partition].nextOffset {
            damagedPartitions.insert(partition)
        }
        cursors[partition].advance(to: cursor)
    }

    /// Nothing behind the damage tells what it hit: no number that could have been in it may be given again.
    private mutating func settleUncertain() {
        for partition in uncertain {
            damagedPartitions.insert(partition)
            cursors[partition].nextSequence += Int64(uncertainBytes)
            cursors[partition].nextOffset += Int64(uncertainBytes)
        }
        if let last = sources.indices.last, sources[last].scan != nil { sources[last].index.cursors = cursors }
    }

    private mutating func carryNewest() throws {
        guard let newest = sources.last else { return }
        end = LogPosition(epoch: newest.index.epoch, byte: newest.index.endByte)
        cut = newest.scan?.cut.map { (JournalFile.name(newest.index.epoch), $0) }
        guard !scansAll else { return }
        try carry(newest)
        // A file without events is taken out of the chain, so that restarts do not pile up files.
        if newest.index.extents.allSatisfy({ $0 == nil }), newest.damage.isEmpty {
            sources.removeLast()
            leftovers += [JournalFile.name(newest.index.epoch), JournalFile.indexName(newest.index.epoch)]
            end = newest.index.previous
        }
    }

    private mutating func carry(_ newest: Source) throws {
        guard let scan = newest.scan else { return }
        let path = configuration.directory + "/" + JournalFile.name(newest.index.epoch)
        let file = try fileSystem.open(path, create: false)
        defer { file.close() }
        for frame in scan.frames where frame.snapshot == nil && frame.header.position.byte >= newest.index.endByte {
            let start = frame.header.position.byte + FrameHeader.bytes
            carried.append((frame.header, try file.readAll(frame.header.payloadBytes, at: Int64(start))))
        }
    }
}
