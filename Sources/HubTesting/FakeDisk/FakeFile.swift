// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import EventLog
import NIOCore
import Synchronization

/// An open file of a fake disk.
final class FakeFile: LogFile {
    private let disk: FakeDisk
    private let inode: Int
    private let life: Int

    init(disk: FakeDisk, inode: Int, life: Int) {
        self.disk = disk
        self.inode = inode
        self.life = life
    }

    private func check(_ state: borrowing FakeDisk.State) throws(LogFileError) {
        guard state.life == life, !state.isPowerless else {
            throw LogFileError(.failed, "the file is from before the crash")
        }
    }

    func size() throws(LogFileError) -> Int64 {
        try disk.state.withLock { state throws(LogFileError) in
            try check(state)
            return Int64(state.inodes[inode]?.content.count ?? 0)
        }
    }

    func write(_ buffers: [ByteBuffer], at offset: Int64) throws(LogFileError) -> Int {
        try disk.state.withLock { state throws(LogFileError) in
            try state.operate("write")
            try check(state)
            var bytes: [UInt8] = []
            for buffer in buffers { bytes.append(contentsOf: buffer.readableBytesView) }
            let fails = state.random.one(in: state.faults.failedWrites)
            if (fails || state.random.one(in: state.faults.shortWrites)) && bytes.count > 1 {
                bytes.removeLast(Int.random(in: 1..<bytes.count, using: &state.random))
            }
            let size = state.inodes[inode]?.content.count ?? 0
            let growth = Int(offset) + bytes.count - max(size, Int(state.inodes[inode]?.reserved ?? 0))
            if growth > 0, Int64(growth) > state.faults.capacityBytes - state.usedBytes {
                throw LogFileError(.noSpace, "write: no space")
            }
            if Int(offset) + bytes.count > size { state.resize(inode, to: Int(offset) + bytes.count) }
            let start = Int(offset)
            state.inodes[inode]?.content.withUnsafeMutableBytes { content in
                content[start..<start + bytes.count].copyBytes(from: bytes)
            }
            for sector in start / FakeDisk.sectorBytes...(start + bytes.count - 1) / FakeDisk.sectorBytes {
                state.inodes[inode]?.dirty.insert(sector)
                state.inodes[inode]?.lost.remove(sector)
            }
            if fails { throw LogFileError(.failed, "write") }
            return bytes.count
        }
    }

    func read(_ count: Int, at offset: Int64, into buffer: inout ByteBuffer) throws(LogFileError) -> Int {
        let bytes = try disk.state.withLock { state throws(LogFileError) -> [UInt8] in
            try check(state)
            guard let content = state.inodes[inode]?.content, offset < content.count else { return [] }
            return Array(content[Int(offset)..<min(Int(offset) + count, content.count)])
        }
        return buffer.writeBytes(bytes)
    }

    func reserve(_ bytes: Int64) throws(LogFileError) {
        try disk.state.withLock { state throws(LogFileError) in
            try state.operate("reserve")
            try check(state)
            let size = state.inodes[inode]?.content.count ?? 0
            let growth = bytes - max(Int64(size), state.inodes[inode]?.reserved ?? 0)
            guard growth <= state.faults.capacityBytes - state.usedBytes else {
                throw LogFileError(.noSpace, "reserve: no space")
            }
            state.inodes[inode]?.reserved = bytes
            if size < bytes { state.resize(inode, to: Int(bytes)) }
        }
    }

    func sync() throws(LogFileError) {
        try disk.state.withLock { state throws(LogFileError) in
            try state.operate("sync")
            try check(state)
            guard !state.faults.ignoresSync else { return }
            let fails = state.random.one(in: state.faults.failedSyncs)
            state.sync(inode, fails: fails)
            if fails { throw LogFileError(.failed, "sync") }
        }
    }

    func close() {}
}
