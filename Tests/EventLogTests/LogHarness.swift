// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import EventLog
import HubTesting
import Logging
import NIOCore
import NIOEmbedded
import Synchronization
import Testing

/// A log without threads on a fake disk, a loop that runs when told, and a clock that moves when told.
final class LogHarness {
    let disk: FakeDisk
    let loop = EmbeddedEventLoop()
    let time = Mutex(Int64(1_000_000))
    var configuration: EventLogConfiguration
    var log: EventLog

    static let quiet = Logger(label: "test", factory: { _ in SwiftLogNoOpLogHandler() })

    /// Small files, so that few events make the log roll.
    static func configuration(partitions: Int = 3) -> EventLogConfiguration {
        var configuration = EventLogConfiguration(directory: "/log", partitionCount: partitions)
        configuration.fileBytes = 32 << 10
        configuration.frameBytesMax = 2 << 10
        configuration.batchBytesMax = 4 << 10
        configuration.commitBytesMax = 8 << 10
        configuration.tailBytesPerPartition = 4 << 10
        configuration.freeBytesReserved = 0
        configuration.retentionBytes = 1 << 40
        configuration.startsThreads = false
        return configuration
    }

    init(seed: UInt64 = 1, _ configuration: EventLogConfiguration = LogHarness.configuration()) throws {
        disk = FakeDisk(seed: seed)
        self.configuration = configuration
        log = try Self.open(disk, configuration, 1_000_000)
    }

    static func open(_ disk: FakeDisk, _ configuration: EventLogConfiguration, _ now: Int64) throws -> EventLog {
        let clock = LogClock(milliseconds: { now }, nanoseconds: { 0 })
        return try EventLog.open(configuration, fileSystem: disk, clock: clock, logger: quiet)
    }

    /// Opens the log again, as after a restart; the clock stands at `now` from here on.
    func reopen(now: Int64 = 1_000_000) throws {
        log = try Self.open(disk, configuration, now)
    }

    func run() { loop.run() }

    /// A batch of events for the built-in endpoint.
    static func batch(_ partition: Int, _ payloads: [String], destinations: DestinationSet = .events) -> AppendBatch {
        var batch = AppendBatch(partition: partition)
        for payload in payloads { batch.append(ByteBuffer(string: payload), destinations: destinations) }
        return batch
    }

    /// Appends and commits; returns what the log answered.
    @discardableResult
    func append(
        _ partition: Int,
        _ payloads: [String],
        destinations: DestinationSet = .events
    ) throws -> AppendResult {
        let future = log.append(Self.batch(partition, payloads, destinations: destinations), on: loop)
        log.step()
        run()
        return try future.wait()
    }

    func read(_ partition: Int, from offset: Int64, bytesMax: Int = 1 << 20) throws -> ReadSlice {
        let future = log.read(partition, from: offset, bytesMax: bytesMax, on: loop)
        log.stepReads()
        run()
        return try future.wait()
    }

    /// Every retained event of a partition, by cold reads and from memory as it comes.
    func readAll(_ partition: Int, bytesMax: Int = 3000) throws -> [StoredEvent] {
        var events: [StoredEvent] = []
        var offset: Int64 = 0
        while true {
            let slice = try read(partition, from: offset, bytesMax: bytesMax)
            if slice.isEmpty { return events }
            for frame in slice.frames { events += frame }
            offset = slice.nextOffset
        }
    }

    func locate(_ partition: Int, _ query: LogQuery) throws -> Int64 {
        let future = log.locate(partition, query, on: loop)
        log.stepReads()
        run()
        return try future.wait()
    }
}

extension StoredEvent {
    var text: String { String(buffer: payload) }
}
