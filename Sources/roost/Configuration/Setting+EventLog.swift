// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import EventLog

extension Setting {
    /// The event log: sizes, queues and threads.
    static let eventLog: [Setting] = [
        .number(
            "eventLog.fileBytes",
            \.eventLog.fileBytes,
            16_777_216...1_073_741_824,
            "Size of a journal file, a multiple of 4096. Retention drops whole files, and a crash costs the reading of one."
        ),
        .number(
            "eventLog.fileMilliseconds",
            \.eventLog.fileMilliseconds,
            1_000...86_400_000,
            "A journal file with events is closed after this time, so that retention can drop it."
        ),
        .number(
            "eventLog.frameBytes",
            \.eventLog.frameBytesMax,
            65_536...4_194_304,
            "The largest frame: the unit of reading."
        ),
        .number(
            "eventLog.batchBytes",
            \.eventLog.batchBytesMax,
            524_288...4_194_304,
            "The largest batch of one connection."
        ),
        .number(
            "eventLog.commitBytes",
            \.eventLog.commitBytesMax,
            65_536...67_108_864,
            "How much one write and one sync take."
        ),
        .number(
            "eventLog.queueBytes",
            \.eventLog.queueBytesMax,
            1_048_576...17_179_869_184,
            "Bytes that may wait for the disk, over all connections."
        ),
        .number(
            "eventLog.queueBatches",
            \.eventLog.queueBatchesMax,
            100...10_000_000,
            "Batches that may wait for the disk."
        ),
        .number(
            "eventLog.tailBytesPerPartition",
            \.eventLog.tailBytesPerPartition,
            65_536...17_179_869_184,
            "The newest events of each partition that stay in memory."
        ),
        .number(
            "eventLog.indexEntries",
            \.eventLog.indexEntriesCached,
            1_000...100_000_000,
            "Index entries of closed files that stay in memory, 40 bytes each."
        ),
        .number(
            "eventLog.readThreads",
            \.eventLog.readThreads,
            1...64,
            "Threads that read from the disk for late readers."
        ),
        .number("eventLog.readQueue", \.eventLog.readQueueMax, 1...1_000_000, "Reads that may wait for such a thread."),
        .number(
            "eventLog.freeBytesReserved",
            \.eventLog.freeBytesReserved,
            0...1_099_511_627_776,
            "Space that stays free on the disk for the state store."
        ),
        .number(
            "eventLog.retryMilliseconds",
            \.eventLog.retryMilliseconds,
            10...60_000,
            "After a failed write, how long messages are refused before the disk is tried again."
        ),
    ]
}
