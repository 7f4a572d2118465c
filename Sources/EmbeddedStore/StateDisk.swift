// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import GRDB
import Synchronization

#if canImport(Glibc)
import Glibc
#else
import Darwin
#endif

/// The disk that the state database stands on: how much room there is, and how long the database's journal has become.
///
/// Two things keep back room for settling and deleting. What is new is refused while little space is free; and a file of
/// some size, the reserve, is removed where the disk is full nevertheless, because others have filled it.
final class StateDisk: Sendable {
    /// How long the writer waits for readers to let go of the journal, in milliseconds.
    private static let patienceMilliseconds = 20

    private let path: String?
    private let limits: StateDatabaseLimits
    private let freeBytes: @Sendable () -> Int64?
    private let commits = Atomic(0)
    private let hasReserve = Atomic(false)

    /// The disk of the database at a path; nil for one in memory.
    ///
    /// `freeBytes` stands in for the system's answer in tests; nil where it is not known.
    init(path: String?, limits: StateDatabaseLimits, freeBytes: (@Sendable () -> Int64?)? = nil) {
        self.path = path
        self.limits = limits
        self.freeBytes = freeBytes ?? { path.flatMap(Self.freeBytes) }
        if let reservePath { self.hasReserve.store(access(reservePath, F_OK) == 0, ordering: .relaxed) }
    }

    /// Gives up the reserve where the disk is full: opening a database writes, too.
    func prepareToOpen() {
        guard let free = self.freeBytes(), free < self.limits.reserveBytes else { return }
        _ = self.giveReserve()
    }

    /// Whether there is room for what is new, beside what is kept back; makes the reserve where it is missing.
    ///
    /// Called on the writer's thread.
    func findRoom() -> Bool {
        guard self.freeBytes().map({ $0 >= self.limits.freeBytesReserved + self.missingBytes }) ?? true else {
            return false
        }
        return self.path == nil || self.hasReserve.load(ordering: .relaxed) || self.makeReserve()
    }

    /// Lets go of the reserve.
    ///
    /// Returns false where that gains nothing.
    func giveReserve() -> Bool {
        guard self.hasReserve.exchange(false, ordering: .relaxed), let reservePath else { return false }
        return unlink(reservePath) == 0
    }

    private var reservePath: String? { self.path.map { $0 + "-reserve" } }
    private var missingBytes: Int64 { self.hasReserve.load(ordering: .relaxed) ? 0 : self.limits.reserveBytes }

    private func makeReserve() -> Bool {
        guard let reservePath else { return false }
        let descriptor = open(reservePath, O_RDWR | O_CREAT | O_CLOEXEC, 0o600)
        guard descriptor >= 0 else { return false }
        defer { close(descriptor) }
        guard posix_fallocate(descriptor, 0, off_t(self.limits.reserveBytes)) == 0 else {
            unlink(reservePath)
            return false
        }
        self.hasReserve.store(true, ordering: .relaxed)
        return true
    }

    /// Looks at the journal from time to time; called on the writer's thread, outside of transactions.
    ///
    /// SQLite moves what is in the journal into the database by itself, but begins the journal anew only at a moment when
    /// nobody reads from it, and never makes its file shorter: under steady reading it grows for ever.
    func committed(_ database: Database) {
        let count = self.commits.wrappingAdd(1, ordering: .relaxed).newValue
        guard count.isMultiple(of: self.limits.commitsPerLook), self.journalBytes > self.limits.journalBytesMax else {
            return
        }
        do {
            try self.shortenJournal(database)
        } catch {
            // Somebody reads for long, or the disk fails, which the next commit will tell. The next look tries again.
            return
        }
    }

    private func shortenJournal(_ database: Database) throws {
        try database.execute(sql: "PRAGMA busy_timeout = \(Self.patienceMilliseconds)")
        let outcome = Result { try database.checkpoint(.truncate) }
        try database.execute(sql: "PRAGMA busy_timeout = \(self.limits.busyMilliseconds)")
        _ = try outcome.get()
    }

    private var journalBytes: Int64 {
        var information = stat()
        guard let path, stat(path + "-wal", &information) == 0 else { return 0 }
        return Int64(information.st_size)
    }

    private static func freeBytes(_ path: String) -> Int64? {
        var information = statvfs()
        guard statvfs(path, &information) == 0 else { return nil }
        return Int64(information.f_bavail) * Int64(information.f_frsize)
    }
}
