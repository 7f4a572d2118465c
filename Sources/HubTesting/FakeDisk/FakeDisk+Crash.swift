// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import EventLog

extension FakeDisk.State {
    var usedBytes: Int64 {
        Set(names.values).reduce(0) { $0 + max(Int64(inodes[$1]?.content.count ?? 0), inodes[$1]?.reserved ?? 0) }
    }

    /// Counts an operation, and fails it when the power is gone.
    mutating func operate(_ what: String) throws(LogFileError) {
        operations += 1
        if let limit = faults.powerCutAfter, operations > limit { isPowerless = true }
        if isPowerless { throw LogFileError(.failed, "\(what): no power") }
    }

    mutating func change(_ change: FakeDisk.NameChange) {
        Self.apply(change, to: &names)
        changes.append(change)
    }

    private static func apply(_ change: FakeDisk.NameChange, to names: inout [String: Int]) {
        switch change {
        case .set(let name, let inode): names[name] = inode
        case .remove(let name): names[name] = nil
        case .rename(let old, let new):
            names[new] = names[old]
            names[old] = nil
        }
    }

    mutating func resize(_ inode: Int, to bytes: Int) {
        guard var file = inodes[inode] else { return }
        inodes[inode] = nil
        defer { inodes[inode] = file }
        if bytes < file.content.count {
            file.content.removeLast(file.content.count - bytes)
        } else {
            file.content += [UInt8](repeating: 0, count: bytes - file.content.count)
        }
    }

    /// What the disk holds after the power came back.
    mutating func crash() {
        var kept = durableNames
        if !changes.isEmpty {
            for change in changes.prefix(Int.random(in: 0...changes.count, using: &random)) {
                Self.apply(change, to: &kept)
            }
        }
        names = kept
        durableNames = kept
        changes = []
        let live = Set(kept.values)
        for inode in inodes.keys.sorted() {
            guard live.contains(inode) else {
                inodes[inode] = nil
                continue
            }
            tear(inode)
        }
        life += 1
        isPowerless = false
    }

    private mutating func tear(_ inode: Int) {
        guard var file = inodes[inode] else { return }
        inodes[inode] = nil
        defer { inodes[inode] = file }
        let size = file.content.count
        if size != file.durable.count, Bool.random(using: &random) {
            if size > file.durable.count {
                file.durable += [UInt8](repeating: 0, count: size - file.durable.count)
            } else {
                file.durable.removeLast(file.durable.count - size)
            }
        }
        for sector in file.dirty.sorted() where !file.lost.contains(sector) {
            let start = sector * FakeDisk.sectorBytes
            let end = min(start + FakeDisk.sectorBytes, size, file.durable.count)
            guard start < end else { continue }
            switch Int.random(in: 0..<5, using: &random) {
            case 0, 1: break
            case 2, 3: file.durable.replaceSubrange(start..<end, with: file.content[start..<end])
            default:
                let torn = Int.random(in: start...end, using: &random)
                file.durable.replaceSubrange(start..<torn, with: file.content[start..<torn])
            }
        }
        file.content = file.durable
        file.dirty = []
        file.lost = []
    }

    /// Stores what was written, but for what an earlier failed sync gave up.
    mutating func sync(_ inode: Int, fails: Bool) {
        guard var file = inodes[inode] else { return }
        inodes[inode] = nil
        defer { inodes[inode] = file }
        let size = file.content.count
        if size > file.durable.count {
            file.durable += [UInt8](repeating: 0, count: size - file.durable.count)
        } else if size < file.durable.count {
            file.durable.removeLast(file.durable.count - size)
        }
        for sector in file.dirty.sorted() where !file.lost.contains(sector) {
            if fails, Bool.random(using: &random) {
                file.lost.insert(sector)
                continue
            }
            let start = sector * FakeDisk.sectorBytes
            let end = min(start + FakeDisk.sectorBytes, size)
            guard start < end else { continue }
            file.durable.withUnsafeMutableBytes { durable in
                file.content.withUnsafeBytes { durable[start..<end].copyBytes(from: $0[start..<end]) }
            }
        }
        file.dirty = []
    }
}
