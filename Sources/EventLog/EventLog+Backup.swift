// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import NIOCore

/// What a backup of a log holds.
public struct LogBackupReport: Sendable, Equatable {
    /// Journal files that were copied.
    public var files = 0
    /// Their size together.
    public var bytes: Int64 = 0
}

extension EventLog {
    /// How many partitions the log in a directory has; nil where there is no log.
    ///
    /// - Throws: `EventLogError` where the description of the log is unreadable or of a newer format.
    public static func partitionCount(
        ofLogIn directory: String,
        fileSystem: any LogFileSystem = PosixFileSystem()
    ) throws -> Int? {
        guard let file = try fileSystem.openExisting(directory + "/" + JournalFile.metadataName) else { return nil }
        defer { file.close() }
        return try LogMetadata(text: String(buffer: file.readAll(4_096, at: 0))).partitionCount
    }

    /// Copies a log to a new directory, as it was at one moment, while another process may be appending to it.
    ///
    /// The newest file comes first, so that what it holds is a prefix of what was appended, and all that came before is in the
    /// older files. It is read from its end to its beginning: whatever is seen of a frame, all frames before it are written
    /// already when their place is read. Files that retention drops meanwhile were the oldest, and are left out.
    ///
    /// - Throws: `LogFileError` where a file can't be read or written.
    public static func backup(
        from source: String,
        to destination: String,
        fileSystem: any LogFileSystem = PosixFileSystem()
    ) throws -> LogBackupReport {
        var report = LogBackupReport()
        try fileSystem.makeDirectory(destination)
        try copyWhole(JournalFile.metadataName, source, destination, fileSystem)
        let epochs = try fileSystem.list(source).compactMap { JournalFile.epoch(of: $0, suffix: ".journal") }.sorted()
        for epoch in epochs.reversed() {
            let name = JournalFile.name(epoch)
            guard let file = try fileSystem.openExisting(source + "/" + name) else { break }
            let copy = try fileSystem.open(destination + "/" + name, create: true)
            let size: Int64
            do {
                defer {
                    file.close()
                    copy.close()
                }
                size = try file.size()
                try copy.reserve(size)
                try copyBackwards(file, copy, size: size)
                try copy.sync()
            }
            // A file that is gone by now may have been written over while it was read.
            guard let still = try fileSystem.openExisting(source + "/" + name) else {
                try fileSystem.remove(destination + "/" + name)
                break
            }
            still.close()
            if epoch != epochs.last { try copyWhole(JournalFile.indexName(epoch), source, destination, fileSystem) }
            report.files += 1
            report.bytes += size
        }
        try fileSystem.syncDirectory(destination)
        return report
    }

    /// Copies a file that may be appended to meanwhile, its last bytes first.
    private static func copyBackwards(_ file: any LogFile, _ copy: any LogFile, size: Int64) throws(LogFileError) {
        var end = size
        while end > 0 {
            let start = max(0, end - backupPieceBytes)
            let piece = try readSettled(file, Int(end - start), at: start)
            try copy.writeAll([piece], at: start)
            end = start
        }
    }

    /// Reads a piece until two reads of it agree: then nothing was written into it between its first byte and its last.
    private static func readSettled(
        _ file: any LogFile,
        _ count: Int,
        at offset: Int64
    ) throws(LogFileError) -> ByteBuffer {
        var last = try file.readAll(count, at: offset)
        while true {
            let again = try file.readAll(count, at: offset)
            if again == last { return again }
            last = again
        }
    }

    /// Copies a small file that is only ever replaced as a whole; nothing where there is none.
    private static func copyWhole(
        _ name: String,
        _ source: String,
        _ destination: String,
        _ fileSystem: any LogFileSystem
    ) throws(LogFileError) {
        guard let file = try fileSystem.openExisting(source + "/" + name) else { return }
        defer { file.close() }
        let content = try file.readAll(Int(try file.size()), at: 0)
        try fileSystem.replace(destination + "/" + name, with: content)
    }

    private static let backupPieceBytes: Int64 = 256 * 1024
}
