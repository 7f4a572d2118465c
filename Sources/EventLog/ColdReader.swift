// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import Logging
import NIOCore
import Synchronization

/// Reads what is no longer in memory.
///
/// Blocks: only on the log's own threads.
struct ColdReader {
    /// Frames of one partition that lie in one file, and where the read after them goes on.
    private struct Plan {
        var entries: [FrameEntry]
        var epoch: UInt32
        var nextOffset: Int64
    }

    /// Gaps up to this many bytes are read and thrown away: cheaper than another system call.
    private static let gapBytesMax = 16 << 10
    /// The file may be dropped between the plan and the read; the next plan then starts behind it.
    private static let attemptsMax = 5

    let partition: Int
    let state: PartitionState
    let files: LogFiles
    let logger: Logger

    /// Frames from the one that holds `offset`, or the first retained one, at least one where there is one.
    func read(from offset: Int64, bytesMax: Int) throws -> ReadSlice {
        for _ in 0..<Self.attemptsMax {
            let plan = try plan(from: offset, bytesMax: bytesMax)
            guard !plan.entries.isEmpty else { return ReadSlice(frames: [], nextOffset: plan.nextOffset) }
            if let frames = try read(plan) { return ReadSlice(frames: frames, nextOffset: plan.nextOffset) }
        }
        throw EventLogError.readFailed("retention overtakes the reader")
    }

    /// Offset of the first frame that fits, and where it lies; nil when none does.
    ///
    /// Both tests must be monotonic: once true, true for everything newer.
    func find(extent: (Extent) -> Bool, entry: (FrameEntry) -> Bool) throws -> FrameEntry? {
        // The frames of the file that is written are searched under the lock: a copy of them would make the writer's next
        // append copy them all.
        let (extents, newest) = state.state.withLock { state -> ([Extent], FrameEntry?) in
            let first = state.active.partitioningIndex(where: entry)
            return (state.extents, first < state.active.count ? state.active[first] : nil)
        }
        var position = extents.partitioningIndex(where: extent)
        while position < extents.count {
            let entries = try files.index(extents[position].epoch).entries[partition]
            let first = entries.partitioningIndex(where: entry)
            if first < entries.count { return entries[first] }
            position += 1
        }
        return newest
    }

    private func plan(from offset: Int64, bytesMax: Int) throws -> Plan {
        var offset = offset
        while true {
            let (extent, active, end) = state.state.withLock { state -> (Extent?, [FrameEntry], Int64) in
                offset = max(offset, state.beginOffset)
                let position = state.extents.partitioningIndex { $0.endOffset > offset }
                guard position == state.extents.count else { return (state.extents[position], [], offset) }
                return (nil, Self.take(state.active, from: offset, bytesMax), max(offset, state.cursor.nextOffset))
            }
            guard let extent else {
                return Plan(
                    entries: active,
                    epoch: active.first?.position.epoch ?? 0,
                    nextOffset: active.last?.endOffset ?? end
                )
            }
            let entries = Self.take(try files.index(extent.epoch).entries[partition], from: offset, bytesMax)
            if let last = entries.last {
                return Plan(entries: entries, epoch: extent.epoch, nextOffset: last.endOffset)
            }
            offset = extent.endOffset
        }
    }

    private static func take(_ entries: [FrameEntry], from offset: Int64, _ bytesMax: Int) -> [FrameEntry] {
        let first = entries.partitioningIndex { $0.endOffset > offset }
        var bytes = 0
        return Array(
            entries[first...].prefix { entry in
                defer { bytes += Int(entry.payloadBytes) }
                return bytes == 0 || bytes + Int(entry.payloadBytes) <= bytesMax
            }
        )
    }

    /// Nil when the file has been dropped meanwhile.
    private func read(_ plan: Plan) throws -> [FrameSlice]? {
        guard let file = try open(plan.epoch) else { return nil }
        defer { file.close() }
        var frames: [FrameSlice] = []
        var rest = plan.entries[...]
        while let first = rest.first {
            var end = first.position.byte + Int(first.frameBytes)
            let run = rest.prefix { entry in
                guard entry.position.byte - end <= Self.gapBytesMax else { return false }
                end = max(end, entry.position.byte + Int(entry.frameBytes))
                return true
            }
            rest = rest.dropFirst(run.count)
            let start = first.position.byte
            let content = try file.readAll(end - start, at: Int64(start))
            for entry in run {
                guard let frame = frame(entry, in: content, at: entry.position.byte - start) else {
                    guard isRetained(plan.epoch) else { return nil }
                    throw damaged("\(JournalFile.name(plan.epoch)) byte \(entry.position.byte)")
                }
                frames.append(frame)
            }
        }
        return frames
    }

    private func open(_ epoch: UInt32) throws -> (any LogFile)? {
        if let file = try files.fileSystem.openExisting(files.path(JournalFile.name(epoch))) { return file }
        if isRetained(epoch) { throw damaged("\(JournalFile.name(epoch)) is missing") }
        return nil
    }

    private func frame(_ entry: FrameEntry, in content: ByteBuffer, at index: Int) -> FrameSlice? {
        let header = content.withUnsafeReadableBytes { bytes -> FrameHeader? in
            guard index < bytes.count else { return nil }
            return FrameCodec.decode(UnsafeRawBufferPointer(rebasing: bytes[index...]), at: entry.position)
        }
        guard let header, header.partition == partition, header.firstOffset == entry.firstOffset,
            let records = content.getSlice(at: index + FrameHeader.bytes, length: header.payloadBytes)
        else { return nil }
        return FrameSlice(
            enqueuedMilliseconds: header.milliseconds,
            firstSequence: header.firstSequence,
            firstOffset: header.firstOffset,
            records: records
        )
    }

    private func isRetained(_ epoch: UInt32) -> Bool {
        state.state.withLock { state in
            state.extents.contains { $0.epoch == epoch } || state.active.first?.position.epoch == epoch
        }
    }

    /// Stops the partition: what was acknowledged can't be read, and only a person may decide to go on without it.
    private func damaged(_ place: String) -> EventLogError {
        state.isDamaged.store(true, ordering: .relaxed)
        logger.error(
            "Stored events are damaged; the partition takes no events until 'roost log repair'",
            metadata: ["partition": "\(partition)", "place": "\(place)"]
        )
        return .partitionDamaged(partition)
    }
}

extension Array {
    /// The first position for which a monotonic test is true.
    func partitioningIndex(where test: (Element) -> Bool) -> Int {
        var (low, high) = (0, count)
        while low < high {
            let middle = (low + high) / 2
            if test(self[middle]) { high = middle } else { low = middle + 1 }
        }
        return low
    }
}
