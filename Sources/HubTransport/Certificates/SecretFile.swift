// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import Glibc

/// Files that hold secrets: written for the owner only, and refused when others can read them.
public enum SecretFile {
    /// Writes `bytes` durably to `path` with mode 0600, replacing what is there in one step.
    ///
    /// The bytes go to a new file beside it first, so that a crash leaves the old file or the new one, never half of one.
    ///
    /// - Throws: `FileError` with the path and what the system said.
    public static func write(_ bytes: [UInt8], to path: String, mode: UInt32 = 0o600) throws(FileError) {
        let temporary = path + ".new"
        unlink(temporary)
        let descriptor = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode)
        guard descriptor >= 0 else { throw FileError(path: temporary, action: "create", errno: errno) }
        defer { close(descriptor) }
        // The umask may have taken bits away that a public file needs.
        guard fchmod(descriptor, mode) == 0 else { throw FileError(path: temporary, action: "chmod", errno: errno) }
        var offset = 0
        while offset < bytes.count {
            let written = bytes.withUnsafeBytes {
                Glibc.write(descriptor, $0.baseAddress?.advanced(by: offset), bytes.count - offset)
            }
            if written < 0 && errno == EINTR { continue }
            guard written > 0 else { throw FileError(path: temporary, action: "write", errno: errno) }
            offset += written
        }
        guard fsync(descriptor) == 0 else { throw FileError(path: temporary, action: "sync", errno: errno) }
        guard rename(temporary, path) == 0 else { throw FileError(path: path, action: "rename to", errno: errno) }
        try syncDirectory(of: path)
    }

    /// Reads the whole file; at most `sizeBytesMax`, for these are keys and certificates.
    ///
    /// - Throws: `FileError` with the path and what the system said.
    public static func read(_ path: String, sizeBytesMax: Int = 1 << 20) throws(FileError) -> [UInt8] {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { throw FileError(path: path, action: "open", errno: errno) }
        defer { close(descriptor) }
        var result: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 16_384)
        while true {
            let count = chunk.withUnsafeMutableBytes { Glibc.read(descriptor, $0.baseAddress, $0.count) }
            if count < 0 && errno == EINTR { continue }
            guard count >= 0 else { throw FileError(path: path, action: "read", errno: errno) }
            if count == 0 { return result }
            guard result.count + count <= sizeBytesMax else {
                throw FileError(path: path, action: "read", errno: EFBIG)
            }
            result.append(contentsOf: chunk[..<count])
        }
    }

    /// Refuses a file that group or others can read or write.
    ///
    /// - Throws: `ExposedSecret` when they can, `FileError` when the file can't be examined.
    public static func checkPrivate(_ path: String) throws {
        var status = stat()
        guard stat(path, &status) == 0 else { throw FileError(path: path, action: "examine", errno: errno) }
        guard status.st_mode & 0o077 == 0 else { throw ExposedSecret(path: path, mode: status.st_mode & 0o777) }
    }

    /// Whether there is a file at `path`.
    public static func exists(_ path: String) -> Bool {
        access(path, F_OK) == 0
    }

    /// Makes the names durable in the directory that holds `path`.
    ///
    /// - Throws: `FileError` with the directory and what the system said.
    public static func syncDirectory(of path: String) throws(FileError) {
        let slash = path.lastIndex(of: "/")
        let directory = slash.map { $0 == path.startIndex ? "/" : String(path[..<$0]) } ?? "."
        let descriptor = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard descriptor >= 0 else { throw FileError(path: directory, action: "open", errno: errno) }
        defer { close(descriptor) }
        guard fsync(descriptor) == 0 else { throw FileError(path: directory, action: "sync", errno: errno) }
    }
}

/// A file operation that the system refused.
public struct FileError: Error, CustomStringConvertible {
    /// The file.
    public let path: String
    /// What was tried, as a verb.
    public let action: String
    /// The system's reason.
    public let errno: Int32

    /// Says which file, what was tried and what the system answered.
    public init(path: String, action: String, errno: Int32) {
        self.path = path
        self.action = action
        self.errno = errno
    }

    /// One line for people.
    public var description: String {
        "can't \(action) \(path): \(String(cString: strerror(errno)))"
    }
}

/// A private key that other users of this machine can read (docs/wire/security.md, statement 61).
public struct ExposedSecret: Error, CustomStringConvertible {
    /// The file.
    public let path: String
    /// Its permission bits.
    public let mode: UInt32

    /// One line for people, with the way out.
    public var description: String {
        "\(path) holds a private key and has mode 0\(String(mode, radix: 8)), so others can read it. Run: chmod 600 \(path)"
    }
}
