// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import Logging
import NIOCore
import Synchronization

/// The closed files of a log, shared by the writer (which closes files), the keeper (which drops them) and cold readers.
final class LogFiles: Sendable {
    struct Closed: Sendable {
        var epoch: UInt32
        var bytes: Int64
        /// First byte that does not belong to the log: what failed to be synced may stand behind it.
        var endByte: Int
        var lastMilliseconds: Int64
    }

    enum Spare: Sendable { case none, ready, inUse }

    struct State {
        var closed: [Closed] = []
        var spare = Spare.none
        /// Closed files whose checkpoint is not on disk yet.
        var unsaved: [FileIndex] = []
        /// Names that nothing needs any more.
        var discarded: [String] = []
        /// Whether the newest file holds the numbers of all partitions durably.
        ///
        /// While not, the newest closed file is the one that has them, and must stay. Older ones may go even then: on a full
        /// disk the newest file can't be made before one of them is dropped.
        var newestIsDurable = false
        var nextEpoch: UInt32
        /// Indexes of closed files in memory, most recently used last.
        var cached: [FileIndex] = []
    }

    let state: Mutex<State>
    /// Wakes the keeper.
    let bell = Doorbell()
    let configuration: EventLogConfiguration
    let fileSystem: any LogFileSystem

    init(_ configuration: EventLogConfiguration, _ fileSystem: any LogFileSystem, _ state: sending State) {
        self.configuration = configuration
        self.fileSystem = fileSystem
        self.state = Mutex(state)
    }

    func path(_ name: String) -> String { configuration.directory + "/" + name }

    // MARK: The writer

    /// Makes the next journal file, durably named and with its first page durable.
    ///
    /// Takes the spare where there is one.
    func makeFile() throws(LogFileError) -> (file: any LogFile, epoch: UInt32) {
        let (epoch, spare) = state.withLock { state in
            state.nextEpoch += 1
            let spare = state.spare == .ready
            if spare { state.spare = .inUse }
            return (state.nextEpoch - 1, spare)
        }
        defer { if spare { state.withLock { $0.spare = .none } } }
        let name = path(JournalFile.name(epoch))
        let temporary = spare ? path(JournalFile.spareName) : name + ".new"
        if !spare { try checkSpace() }
        let file = try fileSystem.open(temporary, create: !spare)
        do {
            if !spare { try file.reserve(Int64(configuration.fileBytes)) }
            try file.writeAll([JournalFile.header(epoch: epoch)], at: 0)
            try file.sync()
            try fileSystem.rename(temporary, to: name)
            try fileSystem.syncDirectory(configuration.directory)
        } catch {
            file.close()
            if !spare { removeTemporary(temporary) }
            discard(JournalFile.name(epoch))
            throw error
        }
        return (file, epoch)
    }

    /// Lets the keeper remove a file when that is safe.
    func discard(_ name: String) {
        state.withLock { $0.discarded.append(name) }
    }

    private func removeTemporary(_ path: String) {
        do {
            try fileSystem.remove(path)
        } catch {
            // The disk fails anyway; the next start removes it.
        }
    }

    /// Notes a file that takes no more frames.
    func close(_ index: FileIndex) {
        state.withLock { state in
            state.closed.append(
                Closed(
                    epoch: index.epoch,
                    bytes: Int64(configuration.fileBytes),
                    endByte: index.endByte,
                    lastMilliseconds: index.lastMilliseconds
                )
            )
            state.unsaved.append(index)
        }
        bell.ring()
    }

    private func checkSpace() throws(LogFileError) {
        let free = try fileSystem.availableBytes(configuration.directory)
        guard free - Int64(configuration.fileBytes) >= configuration.freeBytesReserved else {
            throw LogFileError(.noSpace, "\(free) bytes are free, and \(configuration.freeBytesReserved) are kept free")
        }
    }

    // MARK: The keeper

    /// Makes a prewritten spare file where there is none: writing into blocks that exist makes a sync cheaper.
    func makeSpare() throws(LogFileError) {
        guard state.withLock({ $0.spare == .none }) else { return }
        try checkSpace()
        let temporary = path(JournalFile.spareName + ".new")
        let file = try fileSystem.open(temporary, create: true)
        defer { file.close() }
        do {
            try file.prewrite(configuration.fileBytes)
            try file.sync()
            try fileSystem.rename(temporary, to: path(JournalFile.spareName))
        } catch {
            removeTemporary(temporary)
            throw error
        }
        state.withLock { if $0.spare == .none { $0.spare = .ready } }
    }

    /// Stores the checkpoints of closed files.
    ///
    /// One that is lost is made again by a scan.
    func saveIndexes() throws(LogFileError) {
        // Not before the newest file is durable: the checkpoint of the file before it leaves out what recovery carried over.
        while let index = state.withLock({ $0.newestIsDurable ? $0.unsaved.first : nil }) {
            try fileSystem.replace(path(JournalFile.indexName(index.epoch)), with: index.encode())
            state.withLock { state in
                state.unsaved.removeAll { $0.epoch == index.epoch }
                Self.cache(index, in: &state, limit: configuration.indexEntriesCached)
            }
        }
    }

    /// Removes what nothing needs.
    func removeDiscarded() {
        while let name = state.withLock({ $0.newestIsDurable ? $0.discarded.popLast() : nil }) {
            do {
                try fileSystem.removeExisting(path(name))
            } catch {
                // It costs space, nothing else, and the next start finds it again.
                continue
            }
        }
    }

    // MARK: Readers

    /// The frame index of a closed file: from memory, from its checkpoint, or by scanning the file.
    func index(_ epoch: UInt32) throws -> FileIndex {
        let known = state.withLock { state in
            state.unsaved.first { $0.epoch == epoch } ?? state.cached.first { $0.epoch == epoch }
        }
        if let known { return known }
        let index = try load(epoch)
        state.withLock { Self.cache(index, in: &$0, limit: configuration.indexEntriesCached) }
        return index
    }

    private func load(_ epoch: UInt32) throws -> FileIndex {
        let partitions = configuration.partitionCount
        if let file = try fileSystem.openExisting(path(JournalFile.indexName(epoch))) {
            defer { file.close() }
            let content = try file.readAll(Int(file.size()), at: 0)
            if let index = FileIndex.decode(content, epoch: epoch, partitions: partitions, withEntries: true) {
                return index
            }
        }
        // Lost or damaged: the journal has it all.
        let end = state.withLock { state in state.closed.first { $0.epoch == epoch }?.endByte }
        let scan = try LogRecovery.scan(configuration, fileSystem, epoch: epoch, end: end)
        return FileIndex(
            epoch: epoch,
            previous: scan.previous ?? .zero,
            endByte: scan.endByte,
            cursors: Array(repeating: PartitionCursor(), count: partitions),
            entries: scan.entries(partitions: partitions, before: scan.endByte)
        )
    }

    private static func cache(_ index: FileIndex, in state: inout State, limit: Int) {
        state.cached.removeAll { $0.epoch == index.epoch }
        state.cached.append(index)
        var entries = state.cached.reduce(0) { $0 + $1.entryCount }
        while entries > limit, state.cached.count > 1 {
            entries -= state.cached.removeFirst().entryCount
        }
    }
}
