// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

/// The quality of service of a message or a subscription.
public enum QoS: UInt8, Hashable, Sendable, Comparable, CaseIterable {
    /// Not acknowledged.
    case atMostOnce = 0
    /// Acknowledged by PUBACK.
    case atLeastOnce = 1
    /// The four-packet exchange.
    case exactlyOnce = 2

    /// Orders by rising guarantee.
    public static func < (lhs: QoS, rhs: QoS) -> Bool { lhs.rawValue < rhs.rawValue }
}
