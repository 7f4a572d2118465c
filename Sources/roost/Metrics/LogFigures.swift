// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import EventLog

/// What /metrics tells about the event log.
struct LogFigures {
    private let statistics: EventLogStatistics

    init(_ statistics: EventLogStatistics) {
        self.statistics = statistics
    }

    func write(to page: inout PrometheusText) {
        page.histogram(
            "roost_log_sync_seconds",
            "How long the disk takes to sync a commit.",
            boundsMicroseconds: EventLogStatistics.syncBoundsMicroseconds.map { Int($0) },
            counts: statistics.syncsByLatency.map { Int(clamping: $0) },
            sumMicroseconds: Int(clamping: statistics.syncNanoseconds / 1_000)
        )
        page.counter(
            "roost_log_written_bytes_total",
            "Bytes written to the log.",
            Int(clamping: statistics.bytesWritten)
        )
        page.counter(
            "roost_log_failures_total",
            "Writes, syncs and rolls that failed.",
            Int(clamping: statistics.failures)
        )
        page.gauge("roost_log_queued_batches", "Batches that wait for the writer.", Double(statistics.queuedBatches))
        page.gauge("roost_log_queued_bytes", "Bytes that wait for the writer.", Double(statistics.queuedBytes))
        page.gauge("roost_log_size_bytes", "Bytes of the disk that the log takes.", Double(statistics.storedBytes))
    }
}
