// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

public import NIOCore

/// A file operation that failed.
public struct LogFileError: Error, Sendable, Equatable, CustomStringConvertible {
    /// What kind of failure, as far as the log treats it differently.
    public enum Kind: Sendable, Equatable {
        /// No such file.
        case notFound
        /// The disk or the quota is full.
        case noSpace
        /// Anything else.
        case failed
    }

    /// The kind of failure.
    public let kind: Kind
    /// Operation, path and the system's text.
    public let description: String

    /// Describes a failed operation.
    public init(_ kind: Kind, _ description: String) {
        self.kind = kind
        self.description = description
    }
}

/// One open file.
///
/// Used by one thread at a time, but may move between threads.
public protocol LogFile: AnyObject, Sendable {
    /// The file's size in bytes.
    func size() throws(LogFileError) -> Int64
    /// Writes a prefix of the buffers' readable bytes, one after another, and returns how many bytes (at least 1).
    func write(_ buffers: [ByteBuffer], at offset: Int64) throws(LogFileError) -> Int
    /// Appends up to `count` bytes from `offset` to `buffer` and returns how many; 0 at the end of the file.
    func read(_ count: Int, at offset: Int64, into buffer: inout ByteBuffer) throws(LogFileError) -> Int
    /// Reserves disk space so that the file is at least this long.
    func reserve(_ bytes: Int64) throws(LogFileError)
    /// Reserves space and fills it with zeros, so that later writes change no metadata; durable after a sync.
    func prewrite(_ bytes: Int) throws(LogFileError)
    /// Returns after the file's data and size are durable.
    func sync() throws(LogFileError)
    /// Closes the file; what was not synced may be lost.
    func close()
}

/// The only way in which the log reaches files and directories, so that a fake disk can stand in.
public protocol LogFileSystem: Sendable {
    /// Makes a directory and its parents where they do not exist, durably.
    func makeDirectory(_ path: String) throws(LogFileError)
    /// The names in a directory, in any order.
    func list(_ directory: String) throws(LogFileError) -> [String]
    /// Opens a file for reading and writing; with `create` it is made, or emptied.
    func open(_ path: String, create: Bool) throws(LogFileError) -> any LogFile
    /// Renames a file, replacing what has the new name.
    func rename(_ path: String, to newPath: String) throws(LogFileError)
    /// Removes a file.
    func remove(_ path: String) throws(LogFileError)
    /// Returns after the names in the directory are durable.
    func syncDirectory(_ path: String) throws(LogFileError)
    /// Bytes that can still be written on the disk that holds the path.
    func availableBytes(_ path: String) throws(LogFileError) -> Int64
}

extension LogFileSystem {
    /// Opens a file; nil when there is none.
    func openExisting(_ path: String) throws(LogFileError) -> (any LogFile)? {
        do {
            return try open(path, create: false)
        } catch {
            if error.kind == .notFound { return nil }
            throw error
        }
    }

    /// Removes a file; nothing when there is none.
    func removeExisting(_ path: String) throws(LogFileError) {
        do {
            try remove(path)
        } catch {
            if error.kind != .notFound { throw error }
        }
    }
}

extension LogFile {
    /// Reserves space, then writes zeros piece by piece.
    public func prewrite(_ bytes: Int) throws(LogFileError) {
        try reserve(Int64(bytes))
        var zeros = ByteBufferAllocator().buffer(capacity: min(1 << 20, bytes))
        zeros.writeRepeatingByte(0, count: min(1 << 20, bytes))
        var byte = 0
        while byte < bytes, let piece = zeros.getSlice(at: 0, length: min(zeros.readableBytes, bytes - byte)) {
            try writeAll([piece], at: Int64(byte))
            byte += piece.readableBytes
        }
    }

    /// Writes all bytes, however short the single writes are.
    func writeAll(_ buffers: [ByteBuffer], at offset: Int64) throws(LogFileError) {
        var left = buffers.reduce(0) { $0 + $1.readableBytes }
        guard left > 0 else { return }
        var written = try write(buffers, at: offset)
        var position = offset + Int64(written)
        left -= written
        var rest = buffers
        while left > 0 {
            while let first = rest.first, first.readableBytes <= written {
                written -= first.readableBytes
                rest.removeFirst()
            }
            if !rest.isEmpty { rest[0].moveReaderIndex(forwardBy: written) }
            written = try write(rest, at: position)
            position += Int64(written)
            left -= written
        }
    }

    /// Reads up to `count` bytes, fewer only at the end of the file.
    func readAll(_ count: Int, at offset: Int64) throws(LogFileError) -> ByteBuffer {
        var buffer = ByteBufferAllocator().buffer(capacity: count)
        while buffer.readableBytes < count {
            let got = try read(count - buffer.readableBytes, at: offset + Int64(buffer.readableBytes), into: &buffer)
            if got == 0 { break }
        }
        return buffer
    }
}
