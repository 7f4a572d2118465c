// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

/// One MQTT subscription that a persistent session holds.
public struct SubscriptionFilter: Sendable, Hashable {
    /// The topic filter, as the client wrote it.
    public let filter: String
    /// The granted quality of service, 0 or 1.
    public let qos: UInt8
    /// When it was first made, in milliseconds since 1970 UTC.
    public let createdMilliseconds: Int64

    /// Makes a subscription.
    public init(filter: String, qos: UInt8, createdMilliseconds: Int64) {
        self.filter = filter
        self.qos = qos
        self.createdMilliseconds = createdMilliseconds
    }
}
