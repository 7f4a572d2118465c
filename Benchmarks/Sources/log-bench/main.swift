// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import EventLog
import Glibc
import Logging
import NIOCore
import NIOPosix
import Synchronization

// Senders that each keep one batch in flight, as connections do; prints rate, CPU and sync latency.
// Usage: log-bench [directory] [seconds] [senders] [batch]

/// One sender: appends its next batch when the last one was acknowledged.
final class Sender: Sendable {
    let log: EventLog
    let loop: any EventLoop
    let batch: AppendBatch
    let stop: Atomic<Bool>
    let acknowledged = Atomic(0)

    init(_ log: EventLog, _ loop: any EventLoop, _ batch: AppendBatch) {
        self.log = log
        self.loop = loop
        self.batch = batch
        stop = Atomic(false)
    }

    func send() {
        log.append(batch, on: loop).whenComplete { [self] result in
            if case .success = result { acknowledged.add(batch.count, ordering: .relaxed) }
            if !stop.load(ordering: .relaxed) { send() }
        }
    }
}

func cpuSeconds() -> Double {
    var time = timespec()
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time)
    return Double(time.tv_sec) + Double(time.tv_nsec) / 1e9
}

let arguments = CommandLine.arguments
let directory = arguments.count > 1 ? arguments[1] : "/tmp/roost-log-bench"
let seconds = arguments.count > 2 ? UInt32(arguments[2]) ?? 5 : 5
let senders = arguments.count > 3 ? Int(arguments[3]) ?? 100 : 100
let batchCount = arguments.count > 4 ? Int(arguments[4]) ?? 16 : 16
let logger = Logger(label: "log-bench")

print("partitions   msg/s   CPU us/msg   syncs/s   sync p50 us   sync p99 us   MB/s")
for partitions in [1, 4, 32] {
    let path = directory + "/\(partitions)"
    let configuration = EventLogConfiguration(directory: path, partitionCount: partitions)
    let log = try EventLog.open(configuration, logger: logger)
    let group = MultiThreadedEventLoopGroup(numberOfThreads: 2)
    let all = (0..<senders).map { number in
        var batch = AppendBatch(partition: number % partitions, capacity: batchCount * 264)
        let payload = ByteBuffer(repeating: 0x41, count: 256)
        for _ in 0..<batchCount { batch.append(payload) }
        return Sender(log, group.next(), batch)
    }
    for sender in all { sender.send() }
    sleep(1)
    let (count, cpu) = (all.reduce(0) { $0 + $1.acknowledged.load(ordering: .relaxed) }, cpuSeconds())
    let before = log.statistics
    sleep(seconds)
    let messages = all.reduce(0) { $0 + $1.acknowledged.load(ordering: .relaxed) } - count
    let used = cpuSeconds() - cpu
    var after = log.statistics
    for sender in all { sender.stop.store(true, ordering: .relaxed) }
    after.syncs -= before.syncs
    for position in after.syncsByLatency.indices { after.syncsByLatency[position] -= before.syncsByLatency[position] }
    let rate = messages / Int(seconds)
    let micros = (used * 1e6 / Double(max(messages, 1)) * 1000).rounded() / 1000
    let megabytes = (after.bytesWritten - before.bytesWritten) / UInt64(seconds) / 1_000_000
    print(
        "\(partitions)\t\(rate)\t\(micros)\t\(after.syncs / UInt64(seconds))\t"
            + "\(after.syncMicroseconds(percentile: 0.5))\t\(after.syncMicroseconds(percentile: 0.99))\t\(megabytes)"
    )
    await log.close()
    try await group.shutdownGracefully()
    for name in try PosixFileSystem().list(path) { try PosixFileSystem().remove(path + "/" + name) }
}
