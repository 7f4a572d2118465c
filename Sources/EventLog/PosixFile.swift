// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import Glibc
import NIOCore
import Synchronization

/// One file of the machine's file system.
final class PosixFile: LogFile {
    private let descriptor: CInt
    private let path: String
    private let direct: Mutex<DirectWriter>

    init(descriptor: CInt, path: String) {
        self.descriptor = descriptor
        self.path = path
        direct = Mutex(DirectWriter(path: path))
    }

    func size() throws(LogFileError) -> Int64 {
        var information = stat()
        guard fstat(descriptor, &information) == 0 else { throw PosixFileSystem.failure("stat", path) }
        return Int64(information.st_size)
    }

    func write(_ buffers: [ByteBuffer], at offset: Int64) throws(LogFileError) -> Int {
        if let written = direct.withLock({ $0.write(buffers, at: offset) }) { return written }
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

    /// Writes the zeros past the page cache where the file system lets us: copying them into it would cost a fifth of the
    /// log's CPU time, and they are never read.
    func prewrite(_ bytes: Int) throws(LogFileError) {
        try reserve(Int64(bytes))
        defer { direct.withLock { $0.close() } }
        let zeros = [UInt8](repeating: 0, count: min(bytes, 1 << 20))
        var byte = 0
        while byte < bytes {
            let count = min(zeros.count, bytes - byte)
            if direct.withLock({ [byte] in $0.writeZeros(count, at: Int64(byte)) }) {
                byte += count
                continue
            }
            let written = zeros.withUnsafeBytes { pwrite(descriptor, $0.baseAddress, count, off_t(byte)) }
            if written < 0, errno == EINTR { continue }
            guard written > 0 else { throw PosixFileSystem.failure("write", path) }
            byte += written
        }
    }

    func sync() throws(LogFileError) {
        guard fdatasync(descriptor) == 0 else { throw PosixFileSystem.failure("sync", path) }
    }

    func close() {
        direct.withLock { $0.close() }
        Glibc.close(descriptor)
    }
}
