// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import Hub
import HubModel
import HubTransport

/// Gathers what /metrics tells.
struct HubFigures: Sendable {
    let metrics: HubMetrics
    let gate: ConnectionGate
    let events: (any EventStore)?
    let readers: ReaderRegistry?
    /// What the parts that this module doesn't know by name add.
    let additional: @Sendable (inout PrometheusText) -> Void

    /// The page.
    func page() -> String {
        var page = PrometheusText()
        page.gauge("roost_info", "The program's version.", [([("version", RoostVersion.current)], 1)])
        connections(&page)
        messages(&page)
        if let events {
            log(events, &page)
            if let readers { lag(readers, events, &page) }
        }
        additional(&page)
        process(&page)
        return page.text
    }

    private func connections(_ page: inout PrometheusText) {
        let protocols = [("mqtt", metrics.mqtt), ("amqp", metrics.amqp), ("http", metrics.http)]
        page.gauge(
            "roost_connections",
            "Connections that are open now.",
            protocols.map { ([("protocol", $0)], Double($1.open.value)) }
        )
        page.counter(
            "roost_connections_accepted_total",
            "Connections that were accepted.",
            protocols.map { ([("protocol", $0)], Double($1.accepted.value)) }
        )
        page.counter(
            "roost_sign_ins_total",
            "Sign-ins that succeeded.",
            protocols.map { ([("protocol", $0)], Double($1.signedIn.value)) }
        )
        let counts = gate.counts
        page.gauge(
            "roost_connections_unauthenticated",
            "Connections that have not signed in.",
            Double(counts.unauthenticated)
        )
        page.counter(
            "roost_connections_refused_total",
            "Connections that were not let in, by reason.",
            ConnectionGate.Refusal.allCases.map { ([("reason", $0.rawValue)], Double(counts.refused[$0] ?? 0)) }
        )
        page.counter(
            "roost_refusals_total",
            "What was refused to peers, by reason.",
            metrics.refusalsByReason.sorted { $0.key < $1.key }.map { ([("reason", $0.key)], Double($0.value)) }
        )
    }

    private func messages(_ page: inout PrometheusText) {
        page.counter("roost_telemetry_messages_total", "Messages that devices sent.", metrics.telemetryMessagesIn.value)
        page.counter("roost_telemetry_bytes_total", "Bytes of their bodies.", metrics.telemetryBytesIn.value)
        page.counter("roost_events_out_total", "Events that were sent to readers.", metrics.eventsOut.value)
        page.counter("roost_events_out_bytes_total", "Bytes of those events.", metrics.eventBytesOut.value)
        page.counter("roost_commands_in_total", "Commands that were taken in for devices.", metrics.commandsIn.value)
        page.counter("roost_commands_out_total", "Deliveries of commands to devices.", metrics.commandsOut.value)
        page.counter("roost_commands_ended_total", "Commands that ended, in whatever way.", metrics.commandsEnded.value)
        page.histogram(
            "roost_acknowledgement_seconds",
            "From the reading of a message to its acknowledgement.",
            metrics.acknowledgementLatency
        )
    }

    private func log(_ events: any EventStore, _ page: inout PrometheusText) {
        page.gauge("roost_ingestion_ready", "1 while messages are taken in.", events.isWritable ? 1 : 0)
        page.gauge("roost_log_partitions", "Partitions of the event log.", Double(events.partitionCount))
    }

    private func lag(_ readers: ReaderRegistry, _ events: any EventStore, _ page: inout PrometheusText) {
        page.gauge("roost_readers", "Readers of the built-in endpoint.", Double(readers.count))
        let places = readers.slowest.sorted { ($0.key.group, $0.key.partition) < ($1.key.group, $1.key.partition) }
        page.gauge(
            "roost_reader_lag_events",
            "Events that the reader which is furthest behind was not sent yet.",
            places.map { place, reached in
                let labels = [("consumer_group", place.group), ("partition", String(place.partition))]
                let last = events.info(partition: place.partition).lastSequenceNumber
                return (labels: labels, value: Double(max(0, last - reached)))
            }
        )
    }

    private func process(_ page: inout PrometheusText) {
        let figures = ProcessFigures.current()
        page.gauge("process_resident_memory_bytes", "Resident memory.", Double(figures.residentBytes))
        page.counter("process_cpu_seconds_total", "Processor time.", [([], figures.cpuSeconds)])
        page.gauge("process_open_fds", "Open descriptors.", Double(figures.openDescriptors))
        page.gauge("process_max_fds", "Descriptors that may be open.", Double(figures.descriptorsMax))
    }
}
