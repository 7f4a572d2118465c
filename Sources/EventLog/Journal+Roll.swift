// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import Logging
import NIOCore
import Synchronization

extension Journal {
    /// Closes the file and begins a new one with a snapshot of all numbers, and with what recovery or a failure left to be
    /// made durable elsewhere.
    mutating func roll() throws(LogFileError) {
        if configuration.durability == .os, let file, synced < acknowledged {
            try file.sync()
            synced = acknowledged
        }
        let old = (file: file, epoch: epoch, hasEvents: fileHasEvents, start: fileStart)
        let made = try files.makeFile()
        old.file?.close()
        if let retired = closeOld(old.epoch, hasEvents: old.hasEvents) { acknowledged = min(acknowledged, retired) }
        file = made.file
        epoch = made.epoch
        writeByte = JournalFile.headerBytes
        fileStart = acknowledged
        fileHasEvents = false
        fileNanoseconds = clock.nanoseconds()
        buildPrefix()
    }

    /// Puts the file that was written among the closed ones.
    ///
    /// Returns where the log ends when it held no events: such a file leaves the chain.
    private mutating func closeOld(_ old: UInt32, hasEvents: Bool) -> LogPosition? {
        guard old != 0 else { return nil }
        let entries = partitions.map { $0.closeFile(old) }
        guard hasEvents, acknowledged.epoch == old else {
            files.state.withLock { state in
                state.discarded.append(JournalFile.name(old))
                state.newestIsDurable = false
            }
            return fileStart
        }
        files.close(
            FileIndex(epoch: old, previous: fileStart, endByte: acknowledged.byte, cursors: cursors, entries: entries)
        )
        files.state.withLock { $0.newestIsDurable = false }
        return nil
    }

    private mutating func buildPrefix() {
        prefix = FrameGroup()
        let start = writeByte + markBytes
        let startEnd = carried.reduce(start) { $0 + $1.header.frameBytes }
        let snapshot = snapshotFrame(at: LogPosition(epoch: epoch, byte: writeByte), startEnd: startEnd)
        prefix.append(snapshot.header, snapshot.buffer)
        for frame in carried {
            var header = frame.header
            header.position = LogPosition(epoch: epoch, byte: writeByte + prefix.bytes)
            header.durable = acknowledged
            var buffer = FrameCodec.begin(payloadBytes: header.payloadBytes)
            buffer.writeImmutableBuffer(frame.payload)
            FrameCodec.seal(&buffer, header)
            prefix.append(header, buffer)
        }
    }

    func snapshotFrame(at position: LogPosition, startEnd: Int = 0) -> (header: FrameHeader, buffer: ByteBuffer) {
        let payload = PartitionCursor.encode(cursors)
        let header = FrameHeader(
            kind: .snapshot,
            partition: 0,
            payloadBytes: payload.readableBytes,
            count: 0,
            position: position,
            durable: acknowledged,
            firstSequence: 0,
            firstOffset: Int64(startEnd),
            milliseconds: 0,
            publicCount: 0
        )
        var buffer = FrameCodec.begin(payloadBytes: header.payloadBytes)
        buffer.writeImmutableBuffer(payload)
        FrameCodec.seal(&buffer, header)
        return (header, buffer)
    }

    /// What the writer does when nothing waits: marks the end as durable, and closes a file that is old.
    mutating func idle() {
        if let retry, clock.nanoseconds() < retry.nanoseconds { return }
        do {
            if file == nil || isFileOld { try roll() }
            if !prefix.buffers.isEmpty { try write(FrameGroup()) }
            if !isMarked { try mark() }
            if retry != nil {
                retry = nil
                statistics.recordSuccess()
            }
        } catch {
            fail(error)
        }
    }

    /// Writes a snapshot behind the last frame: it proves that all before it was durable.
    private mutating func mark() throws(LogFileError) {
        guard let file, writeByte + markBytes <= configuration.fileBytes, prefix.buffers.isEmpty else { return }
        let frame = snapshotFrame(at: LogPosition(epoch: epoch, byte: writeByte)).buffer
        try file.writeAll([frame], at: Int64(writeByte))
        try file.sync()
        writeByte += frame.readableBytes
        acknowledged = LogPosition(epoch: epoch, byte: writeByte)
        synced = acknowledged
        isMarked = true
    }

    /// Marks the end, stores the checkpoint of the newest file and lets go of it.
    mutating func close() {
        idle()
        guard let file else { return }
        self.file = nil
        file.close()
        guard acknowledged.epoch == epoch, fileHasEvents else { return }
        let entries = partitions.map { partition in partition.state.withLock { $0.active } }
        let index = FileIndex(
            epoch: epoch,
            previous: fileStart,
            endByte: acknowledged.byte,
            cursors: cursors,
            entries: entries
        )
        files.state.withLock { $0.unsaved.append(index) }
        do {
            try files.saveIndexes()
        } catch {
            logger.warning(
                "The event log's checkpoint was not stored; the next start scans a file",
                metadata: ["error": "\(error)"]
            )
        }
    }
}
