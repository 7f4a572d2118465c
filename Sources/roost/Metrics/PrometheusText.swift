// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import HubModel

/// Writes metrics in Prometheus' text form, version 0.0.4.
struct PrometheusText {
    private(set) var text = ""

    /// A number that only grows; one line for each set of labels.
    mutating func counter(_ name: String, _ help: String, _ values: [(labels: [(String, String)], value: Double)]) {
        family(name, "counter", help, values)
    }

    mutating func counter(_ name: String, _ help: String, _ value: Int) {
        counter(name, help, [([], Double(value))])
    }

    /// A number that goes up and down.
    mutating func gauge(_ name: String, _ help: String, _ values: [(labels: [(String, String)], value: Double)]) {
        family(name, "gauge", help, values)
    }

    mutating func gauge(_ name: String, _ help: String, _ value: Double) {
        gauge(name, help, [([], value)])
    }

    /// Durations in buckets, in seconds.
    mutating func histogram(_ name: String, _ help: String, _ histogram: LatencyHistogram) {
        let (counts, sum) = histogram.snapshot
        self.histogram(
            name,
            help,
            boundsMicroseconds: LatencyHistogram.boundsMicroseconds,
            counts: counts,
            sumMicroseconds: sum
        )
    }

    /// Durations in buckets, in seconds; `counts` has one more entry than there are bounds.
    mutating func histogram(
        _ name: String,
        _ help: String,
        boundsMicroseconds: [Int],
        counts: [Int],
        sumMicroseconds: Int
    ) {
        head(name, "histogram", help)
        var total = 0
        for (index, count) in counts.enumerated() {
            total += count
            let bound = index < boundsMicroseconds.count ? number(Double(boundsMicroseconds[index]) / 1e6) : "+Inf"
            text += "\(name)_bucket{le=\"\(bound)\"} \(total)\n"
        }
        text += "\(name)_sum \(number(Double(sumMicroseconds) / 1e6))\n\(name)_count \(total)\n"
    }

    private mutating func family(
        _ name: String,
        _ kind: String,
        _ help: String,
        _ values: [(labels: [(String, String)], value: Double)]
    ) {
        head(name, kind, help)
        for (labels, value) in values {
            let list = labels.map { "\($0)=\"\(escaped($1))\"" }.joined(separator: ",")
            text += "\(name)\(list.isEmpty ? "" : "{\(list)}") \(number(value))\n"
        }
    }

    private mutating func head(_ name: String, _ kind: String, _ help: String) {
        text += "# HELP \(name) \(help)\n# TYPE \(name) \(kind)\n"
    }

    private func number(_ value: Double) -> String {
        value.rounded() == value && abs(value) < 1e15 ? String(Int(value)) : String(value)
    }

    private func escaped(_ label: String) -> String {
        var result = ""
        for character in label.unicodeScalars {
            switch character {
            case "\\": result += "\\\\"
            case "\"": result += "\\\""
            case "\n": result += "\\n"
            default: result.unicodeScalars.append(character)
            }
        }
        return result
    }
}
