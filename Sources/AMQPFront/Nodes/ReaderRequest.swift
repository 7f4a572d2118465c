// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import AMQP
import Hub
import HubModel
import NIOCore

/// What an attach asks of a partition: where to begin, as whom, and with what beside the events.
struct ReaderRequest {
    /// The capability that adds the partition's state to each event.
    static let metricsCapability = "com.microsoft:enable-receiver-runtime-metric"

    private static let selectorKeys: Set<String> = ["apache.org:selector-filter:string", "selector", "jms-selector"]
    private static let selectorCodes: Set<UInt64> = [0x0000_0013_7000_000a, 0x0000_468c_0000_0004]

    /// Where to begin.
    var position: StartingPosition
    /// The owner level; nil for none.
    var epoch: Int64?
    /// What the reader calls itself.
    var name: String?
    /// Whether the partition's state is wanted with each event.
    var wantsMetrics: Bool
    /// The part of the filter that is honoured, to be echoed.
    var filter: AMQPMap?

    /// Reads an attach; fails with the error to refuse it with.
    init(_ attach: Attach) throws(ReaderRequest.Refusal) {
        position = .earliest
        epoch = attach.properties?["com.microsoft:epoch"]?.integer
        name = attach.properties?["com.microsoft:receiver-name"]?.text
        wantsMetrics = attach.desiredCapabilities?.contains(Self.metricsCapability) ?? false
        for entry in attach.source?.filter?.entries ?? [] {
            guard let text = Self.selector(entry) else { continue }
            guard let position = StartingPosition(filter: text) else {
                throw Refusal(
                    error: AMQPError(.argumentError, "The filter '\(text.prefix(256))' is none that is known here.")
                )
            }
            self.position = position
            filter = AMQPMap([entry])
        }
    }

    /// Why an attach is refused.
    struct Refusal: Error {
        var error: AMQPError
    }

    /// The text of a selector, which is known by its descriptor or by its key; nil for any other filter.
    private static func selector(_ entry: AMQPMap.Entry) -> String? {
        var value = entry.value
        var isSelector = entry.key.text.map(selectorKeys.contains(_:)) ?? false
        if case .described(let descriptor, let inner) = value {
            value = inner
            switch descriptor {
            case .symbol(let name): isSelector = isSelector || selectorKeys.contains(name)
            case .ulong(let code): isSelector = isSelector || selectorCodes.contains(code)
            default: break
            }
        }
        guard isSelector else { return nil }
        if case .binary(let bytes) = value { return String(buffer: bytes) }
        return value.text ?? ""
    }
}
