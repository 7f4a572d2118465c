// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import Glibc
import NIOCore

/// The machine's file system.
public struct PosixFileSystem: LogFileSystem {
    /// Makes the file system.
    public init() {}

    /// Makes a directory (mode 0700) and its parents where they do not exist, durably.
    public func makeDirectory(_ path: String) throws(LogFileError) {
        var information = stat()
        if stat(path, &information) == 0 { return }
        let parent = Self.parent(of: path)
        if parent != path { try makeDirectory(parent) }
        guard mkdir(path, 0o700) == 0 || errno == EEXIST else { throw Self.failure("make directory", path) }
        try syncDirectory(parent)
    }

    /// The names in a directory.
    public func list(_ directory: String) throws(LogFileError) -> [String] {
        guard let handle = opendir(directory) else { throw Self.failure("list", directory) }
        defer { closedir(handle) }
        var names: [String] = []
        while let entry = readdir(handle) {
            let name = withUnsafeBytes(of: &entry.pointee.d_name) { bytes in
                String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
            }
            if name != "." && name != ".." { names.append(name) }
        }
        return names
    }

    /// Opens a file for reading and writing.
    public func open(_ path: String, create: Bool) throws(LogFileError) -> any LogFile {
        let descriptor = Glibc.open(path, O_RDWR | O_CLOEXEC | (create ? O_CREAT | O_TRUNC : 0), 0o600)
        guard descriptor >= 0 else { throw Self.failure("open", path) }
        return PosixFile(descriptor: descriptor, path: path)
    }

    /// Renames a file.
    public func rename(_ path: String, to newPath: String) throws(LogFileError) {
        guard Glibc.rename(path, newPath) == 0 else { throw Self.failure("rename", path) }
    }

    /// Removes a file.
    public func remove(_ path: String) throws(LogFileError) {
        guard unlink(path) == 0 else { throw Self.failure("remove", path) }
    }

    /// Makes the names in a directory durable.
    public func syncDirectory(_ path: String) throws(LogFileError) {
        let descriptor = Glibc.open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard descriptor >= 0 else { throw Self.failure("open directory", path) }
        defer { Glibc.close(descriptor) }
        guard fsync(descriptor) == 0 else { throw Self.failure("sync directory", path) }
    }

    /// Bytes free for this user.
    public func availableBytes(_ path: String) throws(LogFileError) -> Int64 {
        var information = statvfs()
        guard statvfs(path, &information) == 0 else { throw Self.failure("ask the free space of", path) }
        return Int64(information.f_bavail) * Int64(information.f_frsize)
    }

    private static func parent(of path: String) -> String {
        guard let slash = path.lastIndex(of: "/") else { return "." }
        return slash == path.startIndex ? "/" : String(path[..<slash])
    }

    static func failure(_ operation: String, _ path: String) -> LogFileError {
        let code = errno
        let kind: LogFileError.Kind =
            switch code {
            case ENOENT: .notFound
            case ENOSPC, EDQUOT: .noSpace
            default: .failed
            }
        return LogFileError(kind, "\(operation) \(path): \(String(cString: strerror(code)))")
    }
}
