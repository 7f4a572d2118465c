// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import Glibc
import HubTransport
import Synchronization

/// The data directory of a hub, held by this process alone until it ends.
///
/// The lock is the kernel's: it goes with the process, however that ends.
final class HubDirectory: Sendable {
    /// Absolute, so that it can be printed and stored.
    let path: String
    /// Whether this call made it.
    let isNew: Bool
    /// The locked file; nil once released.
    private let lock: Mutex<Int32?>

    /// Makes the directory if there is none, with mode 0700, and takes it.
    ///
    /// - Throws: `DirectoryProblem`.
    init(_ path: String) throws {
        isNew = try Self.make(path)
        guard let resolved = realpath(path, nil) else { throw DirectoryProblem.unusable(path, Self.reason()) }
        self.path = String(cString: resolved)
        free(resolved)
        let file = self.path + "/lock"
        let lock = open(file, O_RDWR | O_CREAT | O_CLOEXEC, 0o600)
        self.lock = Mutex(lock)
        guard lock >= 0 else { throw DirectoryProblem.unusable(file, Self.reason()) }
        guard flock(lock, LOCK_EX | LOCK_NB) == 0 else {
            let owner = Self.owner(lock)
            release()
            throw DirectoryProblem.inUse(self.path, process: owner)
        }
        let text = Array("\(getpid())\n".utf8)
        guard ftruncate(lock, 0) == 0, pwrite(lock, text, text.count, 0) == text.count else {
            throw DirectoryProblem.unusable(file, Self.reason())
        }
    }

    deinit { release() }

    /// Lets others have the directory; nothing may be done in it after this.
    func release() {
        lock.withLock { lock in
            if let descriptor = lock, descriptor >= 0 { close(descriptor) }
            lock = nil
        }
    }

    /// Makes the directory and those above it; the directory itself is for its owner only.
    private static func make(_ path: String) throws -> Bool {
        if mkdir(path, 0o700) == 0 {
            // What is stored in it is as durable as its name.
            try SecretFile.syncDirectory(of: path)
            return true
        }
        if errno == EEXIST { return false }
        guard errno == ENOENT, let slash = path.lastIndex(of: "/"), slash > path.startIndex else {
            throw DirectoryProblem.unusable(path, reason())
        }
        _ = try make(String(path[..<slash]))
        guard mkdir(path, 0o700) == 0 || errno == EEXIST else { throw DirectoryProblem.unusable(path, reason()) }
        try SecretFile.syncDirectory(of: path)
        return true
    }

    private static func owner(_ descriptor: Int32) -> String? {
        var bytes = [UInt8](repeating: 0, count: 16)
        let count = pread(descriptor, &bytes, bytes.count, 0)
        let digits = bytes.prefix(max(0, count)).prefix { $0 >= 0x30 && $0 <= 0x39 }
        return digits.isEmpty ? nil : String(decoding: digits, as: UTF8.self)
    }

    private static func reason() -> String { String(cString: strerror(errno)) }
}

/// Why a data directory can't be used, with the way out.
enum DirectoryProblem: Error, Hashable, CustomStringConvertible {
    case inUse(String, process: String?)
    case unusable(String, String)

    var description: String {
        switch self {
        case .inUse(let path, let process):
            "\(path) is in use by another roost\(process.map { " (process \($0))" } ?? ""). "
                + "Stop that one, or give this one a directory of its own with --data."
        case .unusable(let path, let reason):
            "\(path) can't be used as data directory: \(reason). Give another one with --data."
        }
    }
}
