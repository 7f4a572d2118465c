// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import NIOCore

/// What is fixed when a log is made: the file `log.meta`.
struct LogMetadata: Equatable {
    static let supportedFormat = 1

    var format = supportedFormat
    var partitionCount: Int
    var createdMilliseconds: Int64

    /// Text for people, one `key value` per line.
    var text: String {
        "roost event log\nformat \(format)\npartitions \(partitionCount)\ncreated \(createdMilliseconds)\n"
    }

    init(partitionCount: Int, createdMilliseconds: Int64) {
        self.partitionCount = partitionCount
        self.createdMilliseconds = createdMilliseconds
    }

    init(text: String) throws(EventLogError) {
        var values: [Substring: Int64] = [:]
        for line in text.split(separator: "\n").dropFirst() {
            let words = line.split(separator: " ")
            if words.count == 2 { values[words[0]] = Int64(words[1]) }
        }
        guard text.hasPrefix("roost event log\n"), let format = values["format"] else {
            throw .badMetadata("\(JournalFile.metadataName) does not describe an event log")
        }
        guard format <= Self.supportedFormat else {
            throw .newerFormat(found: Int(format), supported: Self.supportedFormat)
        }
        guard format >= 1, let partitions = values["partitions"], (1...128).contains(partitions),
            let created = values["created"]
        else { throw .badMetadata("\(JournalFile.metadataName) is incomplete") }
        self.format = Int(format)
        partitionCount = Int(partitions)
        createdMilliseconds = created
    }

    /// Reads the description of an existing log and checks it against the configuration, or makes a new log's.
    static func open(
        _ configuration: EventLogConfiguration,
        _ fileSystem: any LogFileSystem,
        now: Int64
    ) throws -> LogMetadata {
        guard var found = try read(configuration.directory, fileSystem) else {
            let made = LogMetadata(partitionCount: configuration.partitionCount, createdMilliseconds: now)
            try made.store(configuration, fileSystem)
            return made
        }
        guard found.partitionCount == configuration.partitionCount else {
            throw EventLogError.partitionCountMismatch(
                existing: found.partitionCount,
                requested: configuration.partitionCount
            )
        }
        if found.format < supportedFormat { try found.migrate(configuration, fileSystem) }
        return found
    }

    /// Reads the description of the log in a directory; nil when there is none.
    static func read(_ directory: String, _ fileSystem: any LogFileSystem) throws -> LogMetadata? {
        guard let file = try fileSystem.openExisting(directory + "/" + JournalFile.metadataName) else { return nil }
        defer { file.close() }
        return try LogMetadata(text: String(buffer: file.readAll(4096, at: 0)))
    }

    /// Brings an older log to the supported format, one step per format, each step repeatable after a crash: what a step
    /// changes in the files comes before the new number.
    private mutating func migrate(_ configuration: EventLogConfiguration, _ fileSystem: any LogFileSystem) throws {
        format = Self.supportedFormat
        try store(configuration, fileSystem)
    }

    private func store(_ configuration: EventLogConfiguration, _ fileSystem: any LogFileSystem) throws {
        try fileSystem.makeDirectory(configuration.directory)
        let path = configuration.directory + "/" + JournalFile.metadataName
        try fileSystem.replace(path, with: ByteBuffer(string: text))
        try fileSystem.syncDirectory(configuration.directory)
    }
}

extension LogFileSystem {
    /// Puts a whole file in the place of another; durable once its directory is synced.
    func replace(_ path: String, with content: ByteBuffer) throws(LogFileError) {
        let file = try open(path + ".new", create: true)
        defer { file.close() }
        try file.writeAll([content], at: 0)
        try file.sync()
        try rename(path + ".new", to: path)
    }
}
