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

/// One file of the machine's file system.
final class PosixFile: LogFile {
    private let descriptor: CInt
    private let path: String

    init(descriptor: CInt, path: String) {
        self.descriptor = descriptor
        self.path = path
    }

    func size() throws(LogFileError) -> Int64 {
        var information = stat()
        guard fstat(descriptor, &information) == 0 else { throw PosixFileSystem.failure("stat", path) }
        return Int64(information.st_size)
    }

    func write(_ buffers: [ByteBuffer], at offset: Int64) throws(LogFileError) -> Int {
        let written = Self.withVectors(buffers[...]) { vectors in
            var result: Int
            repeat {
                result = pwritev(descriptor, vectors.baseAddress, CInt(min(vectors.count, 1024)), off_t(offset))
            } while result < 0 && errno == EINTR
            return result
        }
        guard written > 0 else { throw PosixFileSystem.failure("write", path) }
        return written
    }

    /// The pointers are valid only inside the nested calls, so one frame of the stack is held for each buffer.
    private static func withVectors(
        _ buffers: ArraySlice<ByteBuffer>,
        _ body: (UnsafeBufferPointer<iovec>) -> Int
    ) -> Int {
        var vectors: [iovec] = []
        vectors.reserveCapacity(buffers.count)
        func next(_ rest: ArraySlice<ByteBuffer>) -> Int {
            guard let first = rest.first else { return vectors.withUnsafeBufferPointer(body) }
            return first.withUnsafeReadableBytes { bytes in
                vectors.append(
                    iovec(iov_base: UnsafeMutableRawPointer(mutating: bytes.baseAddress), iov_len: bytes.count)
                )
                return next(rest.dropFirst())
            }
        }
        return next(buffers)
    }

    func read(_ count: Int, at offset: Int64, into buffer: inout ByteBuffer) throws(LogFileError) -> Int {
        var failure: LogFileError?
        let got = buffer.writeWithUnsafeMutableBytes(minimumWritableBytes: count) { bytes in
            var result: Int
            repeat {
                result = pread(descriptor, bytes.baseAddress, count, off_t(offset))
            } while result < 0 && errno == EINTR
            if result < 0 { failure = PosixFileSystem.failure("read", path) }
            return max(result, 0)
        }
        if let failure { throw failure }
        return got
    }

    func reserve(_ bytes: Int64) throws(LogFileError) {
        let code = posix_fallocate(descriptor, 0, off_t(bytes))
        guard code != 0 else { return }
        errno = code
        throw PosixFileSystem.failure("reserve", path)
    }

    /// `O_DIRECT`, which Glibc's module leaves out: the kernel's number for it differs between machines.
    private static var pastThePageCache: CInt {
        #if arch(arm64)
        0o200000
        #else
        0o40000
        #endif
    }

    /// Writes the zeros past the page cache where the file system lets us: copying them into it would cost a fifth of the
    /// log's CPU time, and they are never read.
    func prewrite(_ bytes: Int) throws(LogFileError) {
        try reserve(Int64(bytes))
        let direct = Glibc.open(path, O_WRONLY | O_CLOEXEC | Self.pastThePageCache)
        defer { if direct >= 0 { Glibc.close(direct) } }
        let zeros = UnsafeMutableRawBufferPointer.allocate(byteCount: 1 << 20, alignment: 4096)
        defer { zeros.deallocate() }
        zeros.initializeMemory(as: UInt8.self, repeating: 0)
        var byte = 0
        while byte < bytes {
            let count = min(zeros.count, bytes - byte)
            var written = direct < 0 ? -1 : pwrite(direct, zeros.baseAddress, count, off_t(byte))
            if written <= 0 { written = pwrite(descriptor, zeros.baseAddress, count, off_t(byte)) }
            if written < 0, errno == EINTR { continue }
            guard written > 0 else { throw PosixFileSystem.failure("write", path) }
            byte += written
        }
    }

    func sync() throws(LogFileError) {
        guard fdatasync(descriptor) == 0 else { throw PosixFileSystem.failure("sync", path) }
    }

    func close() { Glibc.close(descriptor) }
}
