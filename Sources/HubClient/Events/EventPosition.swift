// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import AMQP

/// Where in a partition a reader starts.
public enum EventPosition: Hashable, Sendable {
    /// At the first event that is retained.
    case earliest
    /// After the last event there is when the reader attaches.
    case latest
    /// At the event with this sequence number, or the first after it.
    case sequenceNumber(Int64)
    /// At the event with this offset, or the first after it.
    case offset(Int64)
    /// At the first event enqueued then or later, in milliseconds since 1970.
    case enqueued(millisecondsSince1970: Int64)

    /// The selector that tells the hub so (docs/wire/event-hubs.md).
    var selector: String {
        switch self {
        case .earliest: "amqp.annotation.x-opt-offset > '-1'"
        case .latest: "amqp.annotation.x-opt-offset > '@latest'"
        case .sequenceNumber(let number): "amqp.annotation.x-opt-sequence-number >= '\(number)'"
        case .offset(let offset): "amqp.annotation.x-opt-offset >= '\(offset)'"
        case .enqueued(let milliseconds): "amqp.annotation.x-opt-enqueued-time >= '\(milliseconds)'"
        }
    }

    /// The filter of a receiver's source.
    var filter: AMQPMap {
        let name = AMQPValue.symbol("apache.org:selector-filter:string")
        return AMQPMap([.init(key: name, value: .described(name, .string(self.selector)))])
    }
}
