// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import Glibc
import NIOCore

/// Writes that end on a page boundary, past the page cache.
///
/// The log's commits do: each is filled up with zeros to a whole page. Copying them into the page cache cost an eighth of the
/// hub's CPU time under load, and nobody reads them there: readers at the end read the log's own tail, replays the disk. A
/// commit begins where the last one's data ended, inside a page, so the writer keeps the last page that it wrote.
///
/// Whatever can't be written this way is left to the caller: other writes, and file systems that can't (tmpfs).
struct DirectWriter: ~Copyable {
    private static let pageSize = 4096
    /// Larger writes gain nothing from one piece, and the staging area stays as large as the largest one.
    private static let bytesMax = 8 << 20

    private let path: String
    private var descriptor: CInt?
    private var isUsable = true
    private var staging = UnsafeMutableRawBufferPointer(start: nil, count: 0)
    /// Where the page begins that `lastPage` holds.
    private var lastPageOffset: Int64?
    private let lastPage = UnsafeMutableRawBufferPointer.allocate(byteCount: pageSize, alignment: pageSize)

    init(path: String) {
        self.path = path
    }

    deinit {
        staging.deallocate()
        lastPage.deallocate()
        if let descriptor { Glibc.close(descriptor) }
    }

    /// `O_DIRECT`, which Glibc's module leaves out: the kernel's number for it differs between machines.
    private static var pastThePageCache: CInt {
        #if arch(arm64)
        0o200000
        #else
        0o40000
        #endif
    }

    /// Writes the buffers, all or none; nil where the caller must write them itself.
    mutating func write(_ buffers: [ByteBuffer], at offset: Int64) -> Int? {
        let bytes = buffers.reduce(0) { $0 + $1.readableBytes }
        let head = Int(offset % Int64(Self.pageSize))
        let start = offset - Int64(head)
        let isWholePages = (head + bytes) % Self.pageSize == 0 && bytes <= Self.bytesMax
        guard isUsable, isWholePages, head == 0 || lastPageOffset == start, open() else {
            // What is written otherwise may be in the page that is kept.
            lastPageOffset = nil
            return nil
        }
        reserve(head + bytes)
        staging.copyMemory(from: UnsafeRawBufferPointer(rebasing: lastPage[..<head]))
        var filled = head
        for buffer in buffers {
            buffer.withUnsafeReadableBytes { source in
                UnsafeMutableRawBufferPointer(rebasing: staging[filled...]).copyMemory(from: source)
                filled += source.count
            }
        }
        lastPageOffset = nil
        guard writeStaged(filled, at: start) else { return nil }
        let last = filled - Self.pageSize
        lastPage.copyMemory(from: UnsafeRawBufferPointer(rebasing: staging[last..<filled]))
        lastPageOffset = start + Int64(last)
        return bytes
    }

    /// Closes the descriptor and frees the staging area; both come back when they are needed.
    mutating func close() {
        staging.deallocate()
        staging = UnsafeMutableRawBufferPointer(start: nil, count: 0)
        if let descriptor { Glibc.close(descriptor) }
        descriptor = nil
        lastPageOffset = nil
    }

    /// Writes whole pages of zeros; false leaves it to the caller.
    mutating func writeZeros(_ count: Int, at offset: Int64) -> Bool {
        guard isUsable, count % Self.pageSize == 0, count <= Self.bytesMax, open() else { return false }
        lastPageOffset = nil
        reserve(count)
        UnsafeMutableRawBufferPointer(rebasing: staging[..<count]).initializeMemory(as: UInt8.self, repeating: 0)
        return writeStaged(count, at: offset)
    }

    /// Writes what is staged; false leaves it to the caller to try in the ordinary way, which tells what is wrong.
    private mutating func writeStaged(_ count: Int, at offset: Int64) -> Bool {
        guard let descriptor else { return false }
        var result: Int
        repeat {
            result = pwrite(descriptor, staging.baseAddress, count, off_t(offset))
        } while result < 0 && errno == EINTR
        if result < 0, errno == EINVAL { isUsable = false }
        return result == count
    }

    private mutating func open() -> Bool {
        if descriptor != nil { return true }
        let opened = Glibc.open(path, O_WRONLY | O_CLOEXEC | Self.pastThePageCache)
        guard opened >= 0 else {
            isUsable = false
            return false
        }
        descriptor = opened
        return true
    }

    private mutating func reserve(_ bytes: Int) {
        guard staging.count < bytes else { return }
        staging.deallocate()
        staging = .allocate(byteCount: max(bytes, 1 << 18), alignment: Self.pageSize)
    }
}
