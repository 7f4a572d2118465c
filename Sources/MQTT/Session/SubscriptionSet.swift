// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

/// The filters that one connection holds, each with its granted QoS.
public struct SubscriptionSet: Hashable, Sendable {
    /// The filters in the order of their first SUBSCRIBE; few, so an array.
    public private(set) var held: [Subscribe.Request] = []

    /// No filter.
    public init() {}

    /// The filters of a stored session.
    public init(_ held: [Subscribe.Request]) {
        self.held = held
    }

    /// Adds a filter, or replaces the QoS of one that is held. [MQTT-3.8.4-3]
    public mutating func insert(_ filter: String, granted: QoS) {
        if let index = held.firstIndex(where: { $0.filter == filter }) {
            held[index].qos = granted
        } else {
            held.append(Subscribe.Request(filter: filter, qos: granted))
        }
    }

    /// Gives up a filter, compared character by character. [MQTT-3.10.4-1]
    ///
    /// - Returns: whether it was held.
    @discardableResult
    public mutating func remove(_ filter: String) -> Bool {
        guard let index = held.firstIndex(where: { $0.filter == filter }) else { return false }
        held.remove(at: index)
        return true
    }

    /// The highest QoS of the filters that cover a topic, nil if none does. [MQTT-3.3.5-1]
    public func granted(for topic: String) -> QoS? {
        held.lazy.filter { TopicFilter.matches($0.filter, topic: topic) }.map(\.qos).max()
    }
}
