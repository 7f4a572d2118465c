// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

public import EventLog
import NIOCore
import Synchronization

/// A file system in memory that is as unkind as a disk may be.
///
/// What was not synced when `crash()` is called is kept, lost or torn, sector by sector; a size that was not synced is old or
/// new; of the changes to a directory since its last sync, some first ones are kept. Writes may be short, writes and syncs
/// may fail, and after a failed sync what it should have stored is gone for ever although it can still be read, as with a
/// page cache that drops its dirty marks. All choices come from one seed.
public final class FakeDisk: LogFileSystem {
    /// What goes wrong, and how often.
    public struct Faults: Sendable {
        /// One write in so many is short; 0 for none.
        public var shortWrites = 0
        /// One write in so many fails, after a part of it was written; 0 for none.
        public var failedWrites = 0
        /// One sync in so many fails; 0 for none.
        public var failedSyncs = 0
        /// The power goes after so many operations that change something; every operation fails then until `crash()`.
        public var powerCutAfter: Int?
        /// Bytes that all files together may take.
        public var capacityBytes = Int64.max
        /// For showing that the tests notice: syncs of files succeed and do nothing.
        public var ignoresSync = false
        /// For showing that the tests notice: syncs of directories succeed and do nothing.
        public var ignoresDirectorySync = false

        /// A disk without faults.
        public init() {}
    }

    struct Inode {
        var content: [UInt8] = []
        var durable: [UInt8] = []
        /// Sectors written since the last successful sync.
        var dirty: Set<Int> = []
        /// Sectors that a failed sync gave up: they can be read until the crash, and no later sync stores them.
        var lost: Set<Int> = []
        var reserved: Int64 = 0
    }

    enum NameChange {
        case set(String, Int)
        case rename(String, String)
        case remove(String)
    }

    struct State {
        var random: SeededRandom
        var faults = Faults()
        var inodes: [Int: Inode] = [:]
        var nextInode = 1
        var names: [String: Int] = [:]
        var durableNames: [String: Int] = [:]
        var changes: [NameChange] = []
        var directories: Set<String> = [""]
        /// Counts crashes: files opened before one can't be used after it.
        var life = 0
        var operations = 0
        var isPowerless = false
    }

    static let sectorBytes = 512
    let state: Mutex<State>

    /// Makes an empty disk; the seed decides every fault.
    public init(seed: UInt64) {
        state = Mutex(State(random: SeededRandom(seed: seed)))
    }

    /// Sets what goes wrong from now on.
    ///
    /// Operations are counted anew for `powerCutAfter`.
    public func setFaults(_ faults: Faults) {
        state.withLock { state in
            state.faults = faults
            state.operations = 0
        }
    }

    /// How many operations that change something there were since the faults were set.
    public var operations: Int { state.withLock { $0.operations } }

    /// Takes the power away and gives it back: what was not synced suffers.
    public func crash() {
        state.withLock { state in
            state.crash()
            state.faults.powerCutAfter = nil
        }
    }

    /// Changes one bit of a file, as a dying disk does.
    public func flipBit(_ path: String, byte: Int, bit: Int) {
        state.withLock { state in
            guard let inode = state.names[path], state.inodes[inode, default: Inode()].content.count > byte else {
                return
            }
            state.inodes[inode]?.content[byte] ^= 1 << UInt8(bit)
            state.inodes[inode]?.durable[byte] ^= 1 << UInt8(bit)
        }
    }

    /// The content of a file, as a reader sees it now.
    public func content(_ path: String) -> [UInt8]? {
        state.withLock { state in state.names[path].flatMap { state.inodes[$0]?.content } }
    }

    /// Makes a directory, durably.
    public func makeDirectory(_ path: String) throws(LogFileError) {
        try state.withLock { state throws(LogFileError) in
            try state.operate("make directory \(path)")
            state.directories.insert(path)
        }
    }

    /// The names in a directory.
    public func list(_ directory: String) throws(LogFileError) -> [String] {
        try state.withLock { state throws(LogFileError) in
            guard state.directories.contains(directory) else { throw LogFileError(.notFound, "list \(directory)") }
            return state.names.keys.filter { $0.hasPrefix(directory + "/") }.map {
                String($0.dropFirst(directory.count + 1))
            }
        }
    }

    /// Opens a file.
    public func open(_ path: String, create: Bool) throws(LogFileError) -> any LogFile {
        let (inode, life) = try state.withLock { state throws(LogFileError) -> (Int, Int) in
            if state.isPowerless { throw LogFileError(.failed, "open \(path): no power") }
            if !create {
                guard let inode = state.names[path] else { throw LogFileError(.notFound, "open \(path)") }
                return (inode, state.life)
            }
            try state.operate("create \(path)")
            if let inode = state.names[path] {
                state.resize(inode, to: 0)
                return (inode, state.life)
            }
            let inode = state.nextInode
            state.nextInode += 1
            state.inodes[inode] = Inode()
            state.change(.set(path, inode))
            return (inode, state.life)
        }
        return FakeFile(disk: self, inode: inode, life: life)
    }

    /// Renames a file.
    public func rename(_ path: String, to newPath: String) throws(LogFileError) {
        try state.withLock { state throws(LogFileError) in
            try state.operate("rename \(path)")
            guard state.names[path] != nil else { throw LogFileError(.notFound, "rename \(path)") }
            state.change(.rename(path, newPath))
        }
    }

    /// Removes a file.
    public func remove(_ path: String) throws(LogFileError) {
        try state.withLock { state throws(LogFileError) in
            try state.operate("remove \(path)")
            guard state.names[path] != nil else { throw LogFileError(.notFound, "remove \(path)") }
            state.change(.remove(path))
        }
    }

    /// Makes names durable.
    public func syncDirectory(_ path: String) throws(LogFileError) {
        try state.withLock { state throws(LogFileError) in
            try state.operate("sync directory \(path)")
            if state.random.one(in: state.faults.failedSyncs) { throw LogFileError(.failed, "sync directory \(path)") }
            guard !state.faults.ignoresDirectorySync else { return }
            state.durableNames = state.names
            state.changes = []
        }
    }

    /// Bytes that can still be written.
    public func availableBytes(_ path: String) throws(LogFileError) -> Int64 {
        state.withLock { $0.faults.capacityBytes - $0.usedBytes }
    }
}
