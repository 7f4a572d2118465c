// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import EmbeddedStore
import FoundationEssentials

/// A state database in a folder of its own whose process can be killed, as far as its files can tell.
struct CrashingDatabase {
    private(set) var database: StateDatabase
    private let folder: URL
    private var crashes = 0

    init() throws {
        self.folder = FileManager.default.temporaryDirectory.appending(path: "roost-model-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: self.folder, withIntermediateDirectories: true)
        self.database = try StateDatabase(path: self.folder.appending(path: "0.sqlite").path, durability: .os)
    }

    /// Goes on with what a killed process would have left: the files as they are, without an orderly close.
    mutating func crash() throws {
        self.crashes += 1
        let from = self.folder.appending(path: "\(self.crashes - 1).sqlite").path
        let path = self.folder.appending(path: "\(self.crashes).sqlite").path
        for suffix in ["", "-wal"] where FileManager.default.fileExists(atPath: from + suffix) {
            try FileManager.default.copyItem(atPath: from + suffix, toPath: path + suffix)
        }
        try self.database.close()
        self.database = try StateDatabase(path: path, durability: .os)
    }

    func clean() {
        try? FileManager.default.removeItem(at: self.folder)
    }
}
