// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import HubClient

/// What `roost bench` found out; the names are those of its JSON.
struct BenchReport: BenchResult, Codable {
    /// How the devices got their connections.
    struct Connecting: Codable, Sendable {
        var devices: Int
        var connected: Int
        var failed: Int
        var seconds: Double
        var perSecond: Double
        var serverCPUMicrosecondsPerConnect: Double?
        var serverResidentKiBPerConnection: Double?
    }

    /// What holding the connections costs.
    struct Idle: Codable, Sendable {
        var seconds: Double
        var lost: Int
        var serverResidentKiBPerConnection: Double?
    }

    /// Part of all durations that took at most so long.
    struct Latency: Codable, Sendable {
        var p50Milliseconds: Double
        var p99Milliseconds: Double
        var p999Milliseconds: Double
        var maxMilliseconds: Double

        init?(_ histogram: LatencyHistogram) {
            guard histogram.count > 0 else { return nil }
            self.p50Milliseconds = Double(histogram.nanoseconds(at: 0.5)) / 1e6
            self.p99Milliseconds = Double(histogram.nanoseconds(at: 0.99)) / 1e6
            self.p999Milliseconds = Double(histogram.nanoseconds(at: 0.999)) / 1e6
            self.maxMilliseconds = Double(histogram.maxNanoseconds) / 1e6
        }

        var text: String {
            "p50 \(fixed(self.p50Milliseconds, digits: 2)) ms, p99 \(fixed(self.p99Milliseconds, digits: 2)) ms, "
                + "p99.9 \(fixed(self.p999Milliseconds, digits: 2)) ms, max \(fixed(self.maxMilliseconds, digits: 2)) ms"
        }
    }

    /// What publishing did.
    struct Publishing: Codable, Sendable {
        var seconds: Double
        var qos: Int
        var bodyBytes: Int
        var window: Int
        var messages: UInt64
        var messagesPerSecond: Double
        var lost: Int
        var puback: Latency?
        var eventsRead: UInt64?
        var endToEnd: Latency?
        var generatorCPUMicrosecondsPerMessage: Double?
        var serverCPUMicrosecondsPerMessage: Double?
        var serverCores: Double?
        var serverResidentMiB: Double?
    }

    /// How the devices got their connections.
    var connecting: Connecting
    /// What holding the connections costs, when that was asked.
    var idle: Idle?
    /// What publishing did, when that was asked.
    var publishing: Publishing?

    /// Whether a connection was refused or lost.
    var hasFailures: Bool {
        self.connecting.failed > 0 || (self.idle?.lost ?? 0) > 0 || (self.publishing?.lost ?? 0) > 0
    }

    /// The lines for people.
    var lines: [String] {
        var lines: [String] = []
        let connecting = self.connecting
        lines.append(
            Self.line(
                "connections",
                "\(grouped(connecting.connected)) of \(grouped(connecting.devices)) in "
                    + "\(fixed(connecting.seconds, digits: 2)) s (\(grouped(Int(connecting.perSecond)))/s), "
                    + "refused or lost \(grouped(connecting.failed))"
            )
        )
        if let cpu = connecting.serverCPUMicrosecondsPerConnect, let kib = connecting.serverResidentKiBPerConnection {
            lines.append(
                Self.line(
                    "server",
                    "\(fixed(cpu, digits: 0)) us CPU per connect, \(fixed(kib, digits: 1)) KiB resident per connection"
                )
            )
        }
        if let idle {
            let kib = idle.serverResidentKiBPerConnection.map {
                "\(fixed($0, digits: 1)) KiB resident per connection, "
            }
            lines.append(
                Self.line("after \(fixed(idle.seconds, digits: 0)) s idle", "\(kib ?? "")lost \(grouped(idle.lost))")
            )
        }
        if let publishing {
            lines += self.lines(of: publishing)
        }
        return lines
    }

    private func lines(of publishing: Publishing) -> [String] {
        var lines: [String] = []
        let megabytes = publishing.messagesPerSecond * Double(publishing.bodyBytes) / 1e6
        lines.append(
            Self.line(
                publishing.qos == 1 ? "acknowledged" : "written",
                "\(grouped(Int(publishing.messagesPerSecond))) messages/s (\(fixed(megabytes, digits: 1)) MB/s of bodies), "
                    + "lost connections \(grouped(publishing.lost))"
            )
        )
        if let puback = publishing.puback {
            lines.append(Self.line("PUBACK latency", puback.text))
        }
        if let read = publishing.eventsRead {
            lines.append(Self.line("events read", grouped(read)))
        }
        if let endToEnd = publishing.endToEnd {
            lines.append(Self.line("end to end", endToEnd.text))
        }
        if let cpu = publishing.generatorCPUMicrosecondsPerMessage {
            lines.append(Self.line("generator", "\(fixed(cpu, digits: 2)) us CPU per message"))
        }
        if let cpu = publishing.serverCPUMicrosecondsPerMessage, let cores = publishing.serverCores {
            let memory = publishing.serverResidentMiB.map { ", \(fixed($0, digits: 0)) MiB resident" } ?? ""
            lines.append(
                Self.line(
                    "server",
                    "\(fixed(cpu, digits: 2)) us CPU per message, \(fixed(cores, digits: 2)) cores\(memory)"
                )
            )
        }
        return lines
    }

    /// A line with a heading.
    static func line(_ name: String, _ text: String) -> String {
        name + String(repeating: " ", count: max(1, 18 - name.count)) + text
    }
}
