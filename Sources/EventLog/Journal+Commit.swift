// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import Logging
import NIOCore
import Synchronization

extension Journal {
    /// Makes batches durable, shows them to readers and collects who is to be told, in the order of the batches.
    mutating func commit(_ entries: [PendingAppend], into wakes: inout WakeList) {
        var rest = entries[...]
        while !rest.isEmpty {
            var bytes = 0
            let chunk = rest.prefix { entry in
                defer { bytes += entry.batch.bytes }
                return bytes < configuration.commitBytesMax
            }
            rest = rest.dropFirst(chunk.count)
            commitChunk(chunk, into: &wakes)
        }
    }

    private mutating func commitChunk(_ entries: ArraySlice<PendingAppend>, into wakes: inout WakeList) {
        if let retry, clock.nanoseconds() < retry.nanoseconds {
            for entry in entries { wakes.add(entry.promise, .failure(retry.error)) }
            return
        }
        do {
            let plan = CommitPlan(entries, partitions: partitions.count, frameBytesMax: configuration.frameBytesMax)
            try makeRoom(plan.bytes)
            let built = build(plan, entries)
            let commit = try write(built.group)
            retry = nil
            statistics.recordSuccess()
            for (entry, result) in zip(entries, built.results) { wakes.add(entry.promise, .success(result)) }
            publish(commit, into: &wakes)
        } catch {
            let failure = fail(error)
            for entry in entries { wakes.add(entry.promise, .failure(failure)) }
        }
    }

    private mutating func makeRoom(_ bytes: Int) throws(LogFileError) {
        let used = writeByte + prefix.bytes + bytes + markBytes
        if file == nil || isFileOld || used > configuration.fileBytes { try roll() }
    }

    /// Makes the frames.
    ///
    /// Their numbers are used up from here on, whether the write succeeds or not.
    private mutating func build(
        _ plan: CommitPlan,
        _ entries: ArraySlice<PendingAppend>
    ) -> (group: FrameGroup, results: [AppendResult]) {
        var group = FrameGroup()
        let now = clock.milliseconds()
        let durable = durableClaim
        group.buffers.reserveCapacity(plan.frames.count)
        group.published.reserveCapacity(plan.frames.count)
        let empty = AppendResult(firstSequence: 0, firstOffset: 0, enqueuedMilliseconds: 0)
        var results = [AppendResult](repeating: empty, count: entries.count)
        for frame in plan.frames {
            var cursor = cursors[frame.partition]
            cursor.lastMilliseconds = max(cursor.lastMilliseconds, now)
            var header = FrameHeader(
                kind: .events,
                partition: frame.partition,
                payloadBytes: frame.payloadBytes,
                count: 0,
                position: LogPosition(epoch: epoch, byte: writeByte + prefix.bytes + group.bytes),
                durable: durable,
                firstSequence: cursor.nextSequence,
                firstOffset: cursor.nextOffset,
                milliseconds: cursor.lastMilliseconds,
                publicCount: 0
            )
            var buffer = FrameCodec.begin(payloadBytes: frame.payloadBytes)
            for position in frame.entries {
                let entry = entries[entries.startIndex + position]
                results[position] = AppendResult(
                    firstSequence: cursor.nextSequence,
                    firstOffset: cursor.nextOffset,
                    enqueuedMilliseconds: cursor.lastMilliseconds
                )
                if entry.lastPublicStart >= 0 { cursor.lastOffset = cursor.nextOffset + Int64(entry.lastPublicStart) }
                cursor.nextSequence += Int64(entry.batch.publicCount)
                cursor.nextOffset += Int64(entry.batch.bytes)
                header.count += entry.batch.count
                header.publicCount += entry.batch.publicCount
                buffer.writeImmutableBuffer(entry.batch.records)
            }
            FrameCodec.seal(&buffer, header)
            group.append(header, buffer)
            cursors[frame.partition] = cursor
        }
        return (group, results)
    }

    /// Writes and syncs what a new file begins with and these frames; returns all that readers may see now.
    @discardableResult
    mutating func write(_ group: FrameGroup) throws(LogFileError) -> FrameGroup {
        guard let file else { return group }
        var whole = prefix
        whole.buffers += group.buffers
        whole.bytes += group.bytes
        whole.published += group.published
        let end = writeByte + whole.bytes
        // Whole pages, so that the system need not read an old page of a recycled file to fill it.
        let padded = min((end + 4095) / 4096 * 4096, configuration.fileBytes)
        if padded > end, let zeros = Self.page.getSlice(at: 0, length: padded - end) { whole.buffers.append(zeros) }
        try file.writeAll(whole.buffers, at: Int64(writeByte))
        if configuration.durability == .fsync {
            let start = clock.nanoseconds()
            try file.sync()
            statistics.recordSync(nanoseconds: clock.nanoseconds() - start, bytes: whole.bytes)
        }
        let hadPrefix = !prefix.buffers.isEmpty
        writeByte = end
        acknowledged = LogPosition(epoch: epoch, byte: end)
        if configuration.durability == .fsync { synced = acknowledged }
        isMarked = whole.published.isEmpty && isMarked
        fileHasEvents = fileHasEvents || !whole.published.isEmpty
        prefix = FrameGroup()
        if hadPrefix {
            files.state.withLock { $0.newestIsDurable = true }
            if !carried.isEmpty {
                carried = []
                if group.buffers.isEmpty { publishQuietly(whole) }
            }
        }
        return whole
    }

    private func publishQuietly(_ group: FrameGroup) {
        var wakes = WakeList()
        publish(group, into: &wakes)
        wakes.fire()
    }

    private func publish(_ group: FrameGroup, into wakes: inout WakeList) {
        for frame in group.published {
            partitions[frame.partition].publish(
                frame.entry,
                frame.slice,
                cursor: cursors[frame.partition],
                into: &wakes
            )
        }
    }

    /// Gives the file up after a failure: it is not trusted again, and the next commit begins a new one.
    @discardableResult
    mutating func fail(_ error: LogFileError) -> EventLogError {
        file?.close()
        file = nil
        let failure: EventLogError = error.kind == .noSpace ? .storageFull : .writeFailed(error.description)
        if retry == nil { logger.error("The event log can't write", metadata: ["error": "\(error)"]) }
        retry = (Self.later(clock.nanoseconds(), by: configuration.retryMilliseconds), failure)
        statistics.recordFailure()
        return failure
    }

    private static let page: ByteBuffer = {
        var page = ByteBufferAllocator().buffer(capacity: 4096)
        page.writeRepeatingByte(0, count: 4096)
        return page
    }()
}

/// Which waiting batches go into which frames; no I/O and no numbers yet.
struct CommitPlan {
    struct Frame {
        var partition: Int
        /// Positions in the batches of the commit.
        var entries: [Int]
        var payloadBytes: Int
    }

    private(set) var frames: [Frame] = []
    /// Bytes of all frames.
    private(set) var bytes = 0

    init(_ entries: ArraySlice<PendingAppend>, partitions: Int, frameBytesMax: Int) {
        var open = [Int](repeating: -1, count: partitions)
        for (position, entry) in entries.enumerated() {
            let partition = entry.batch.partition
            let current = open[partition]
            if current >= 0, frames[current].payloadBytes + entry.batch.bytes <= frameBytesMax {
                frames[current].entries.append(position)
                frames[current].payloadBytes += entry.batch.bytes
            } else {
                open[partition] = frames.count
                frames.append(Frame(partition: partition, entries: [position], payloadBytes: entry.batch.bytes))
            }
        }
        for frame in frames { bytes += FrameHeader.frameBytes(payload: frame.payloadBytes) }
    }
}
