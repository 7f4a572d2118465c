// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

/// Every limit, size and time-out of the hub's domain that is not a setting of one listener.
///
/// Static members are fixed by the wire; the members of an instance are settings, with Azure's value as the default.
public struct Limits: Sendable, Hashable {
    /// The longest device or module id, in characters (docs/wire/http.md#identities).
    public static let identityLengthMax = 128

    /// The largest device-to-cloud message in bytes: body, values of system properties, names and values of
    /// application properties (docs/wire/mqtt.md#sizes).
    public var telemetryMessageSizeMax = 262_144
    /// How long after a token's expiry it still signs in, and after which a live connection is cut, in seconds.
    public var clockSkewSeconds: Int64 = 300
    /// How many readers without an owner level may read one partition of one consumer group at a time.
    public var readersPerPartitionMax = 5
    /// How many consumer groups a hub may have, `$Default` included.
    public var consumerGroupsMax = 20
    /// How many devices a hub may have.
    public var devicesMax = 1_000_000
    /// How many modules a device may have.
    public var modulesPerDeviceMax = 50
    /// How many devices one page of a list holds at most.
    public var deviceListPageMax = 1_000
    /// How many operations one bulk registry call carries at most.
    public var bulkOperationsMax = 100

    /// Azure's limits.
    public init() {}
}
