// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import GRDB
import HubModel

#if canImport(Glibc)
import Glibc
#else
import Darwin
#endif

/// The bounds of the state database.
public struct StateDatabaseLimits: Sendable, Hashable {
    /// How many connections read at the same time.
    public var readersMax = 4
    /// How many changes may wait for the writer.
    public var waitingStepsMax = 20_000
    /// How many bytes of messages and patches those may hold together.
    public var waitingBytesMax = 64 << 20
    /// How long to wait where another process has the database locked, in milliseconds.
    public var busyMilliseconds = 5_000
    /// How long the journal's file may become, in bytes, before it is cut.
    public var journalBytesMax: Int64 = 64 << 20
    /// After how many commits the journal's length is looked at.
    public var commitsPerLook = 512
    /// Space in bytes that is kept free on the disk for steps that settle and delete; the log keeps twice as much free.
    public var freeBytesReserved: Int64 = 32 << 20
    /// Space in bytes that is taken at once, so that others can't, and given to such steps where the disk is full.
    public var reserveBytes: Int64 = 16 << 20

    /// The defaults.
    public init() {}
}

/// Whether the state database syncs before it answers.
public enum StateDurability: String, Sendable, Hashable {
    /// Every commit is synced to the disk before it is answered.
    case sync
    /// The system writes when it likes: a crash of the machine may take back what was answered.
    case os
}

/// The SQLite database that holds all that is durable but events.
public final class StateDatabase: Sendable {
    let reader: any DatabaseReader
    let writer: any DatabaseWriter
    let group: GroupCommit
    let seal: KeySeal

    /// Opens the database at a path, and makes or migrates it where needed.
    ///
    /// `masterKey`, 32 bytes, encrypts the keys in it; it is not kept in the database. nil leaves them readable.
    ///
    /// - Throws: `HubError` `.storageCorrupt` for a file that a newer version made or that is no database,
    ///   `.serviceUnavailable` where it can't be opened
    public convenience init(
        path: String,
        durability: StateDurability = .sync,
        masterKey: [UInt8]? = nil,
        limits: StateDatabaseLimits = StateDatabaseLimits()
    ) throws {
        let disk = StateDisk(path: path, limits: limits)
        try self.init(path: path, on: disk, durability: durability, masterKey: masterKey, limits: limits)
    }

    /// Opens the database at a path, on a disk that a test may have made.
    convenience init(
        path: String,
        on disk: StateDisk,
        durability: StateDurability = .sync,
        masterKey: [UInt8]? = nil,
        limits: StateDatabaseLimits
    ) throws {
        disk.prepareToOpen()
        try Self.createPrivateFile(path)
        var configuration = Configuration()
        configuration.maximumReaderCount = limits.readersMax
        configuration.label = "roost.state"
        // Another process may copy it meanwhile.
        configuration.busyMode = .timeout(Double(limits.busyMilliseconds) / 1000)
        do {
            let pool = try DatabasePool(path: path, configuration: configuration)
            try self.init(pool, on: disk, durability: durability, seal: KeySeal(masterKey: masterKey), limits: limits)
        } catch {
            throw StoreError.hubError(error)
        }
    }

    /// Opens a database that is gone with this object; for tests.
    public static func inMemory() throws -> StateDatabase {
        let limits = StateDatabaseLimits()
        return try StateDatabase(
            try DatabaseQueue(),
            on: StateDisk(path: nil, limits: limits),
            durability: .sync,
            seal: KeySeal(masterKey: nil),
            limits: limits
        )
    }

    private init(
        _ writer: any DatabaseWriter,
        on disk: StateDisk,
        durability: StateDurability,
        seal: KeySeal,
        limits: StateDatabaseLimits
    ) throws {
        self.seal = seal
        self.writer = writer
        self.reader = writer
        self.group = GroupCommit(writer, on: disk, limits: limits)
        try writer.writeWithoutTransaction { database in
            // GRDB chooses NORMAL when it turns to WAL, which does not sync before a commit returns.
            try database.execute(sql: "PRAGMA synchronous = \(durability == .sync ? "FULL" : "NORMAL")")
            // What is deleted or replaced is overwritten: keys must not stay behind in free pages.
            try database.execute(sql: "PRAGMA secure_delete = ON")
        }
        let migrator = StateMigrations.migrator
        guard try writer.read({ try !migrator.hasBeenSuperseded($0) }) else {
            throw HubError(.storageCorrupt, "A newer version of roost made the state database; use that version.")
        }
        try migrator.migrate(writer)
        try writer.write { try seal.sealAll(in: $0) }
    }

    /// The setting of `PRAGMA synchronous` on the writing connection, as SQLite reports it: 2 is FULL.
    public func synchronousSetting() throws -> Int {
        try self.writer.writeWithoutTransaction { try Int.fetchOne($0, sql: "PRAGMA synchronous") ?? -1 }
    }

    /// The journal mode as SQLite reports it.
    public func journalMode() throws -> String {
        try self.writer.writeWithoutTransaction { try String.fetchOne($0, sql: "PRAGMA journal_mode") ?? "" }
    }

    /// Whether what is new is stored now: false from a failed commit, or while the disk is almost full, to the next commit
    /// that finds it otherwise.
    public var isWritable: Bool { self.group.isWritable }

    /// Writes a consistent copy of a database to a path where no file is, while another process may be serving from it.
    ///
    /// Changes nothing in the database, also where a program of another version made it. When it returns, the copy is on
    /// the disk, but its name is not yet.
    ///
    /// - Throws: `HubError`: what the database suffers
    public static func backup(_ path: String, to copy: String) throws {
        try self.createPrivateFile(copy)
        var configuration = Configuration()
        configuration.readonly = true
        configuration.busyMode = .timeout(Double(StateDatabaseLimits().busyMilliseconds) / 1000)
        do {
            let database = try DatabaseQueue(path: path, configuration: configuration)
            try database.vacuum(into: copy)
            try database.close()
        } catch {
            throw StoreError.hubError(error)
        }
        try self.sync(copy)
    }

    /// Moves the journal into the database file and closes both; the object is of no use afterwards.
    public func close() throws {
        do {
            try self.writer.writeWithoutTransaction { _ = try $0.checkpoint(.truncate) }
            try self.writer.close()
        } catch {
            throw StoreError.hubError(error)
        }
    }

    /// Makes the file with mode 0600, which SQLite's journal files inherit: it holds keys.
    private static func createPrivateFile(_ path: String) throws(HubError) {
        let descriptor = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0o600)
        guard descriptor >= 0 else {
            throw HubError(.serviceUnavailable, "\(path) can't be opened: \(String(cString: strerror(errno))).")
        }
        closeDescriptor(descriptor)
    }

    /// SQLite does not sync what `VACUUM INTO` writes.
    private static func sync(_ path: String) throws(HubError) {
        let descriptor = open(path, O_RDWR | O_CLOEXEC)
        defer { closeDescriptor(descriptor) }
        guard descriptor >= 0, fsync(descriptor) == 0 else {
            throw HubError(.serviceUnavailable, "\(path) can't be synced: \(String(cString: strerror(errno))).")
        }
    }
}

/// The system's `close`, which the class's own method hides.
private func closeDescriptor(_ descriptor: Int32) {
    close(descriptor)
}
