// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

public import JSON

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
    /// What certificates of devices and their authorities may be.
    public var certificates = CertificateLimits()
    /// Whether devices may ask for faults.
    public var faults = FaultLimits()
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

    /// How many requests of one connection may wait for its twin.
    public var twinRequestsPerConnectionMax = 1_000
    /// What twins may hold.
    public var twins = TwinLimits()
    /// How soon what is known of connections is stored.
    public var presences = PresenceLimits()
    /// What direct methods may take.
    public var methods = MethodLimits()
    /// What queues of commands may hold, and how long.
    public var commands = CommandLimits()

    /// Azure's limits.
    public init() {}
}

/// How soon what is known of connections is stored (docs/wire/http.md#identities).
public struct PresenceLimits: Sendable, Hashable {
    /// After how many seconds connects and disconnects are stored.
    public var storeSeconds = 5
    /// After how many seconds the activity of those that stay connected is stored.
    public var activitySeconds = 60

    /// The defaults.
    public init() {}
}

/// What direct methods may take (docs/wire/http.md#methods).
public struct MethodLimits: Sendable, Hashable {
    /// The largest argument and the largest answer, in bytes of JSON text.
    public var payloadBytesMax = 131_072
    /// The longest name, in characters.
    public var nameLengthMax = 100
    /// The seconds that a device may be given to answer; what is asked beyond is clamped.
    public var responseTimeoutSeconds = 5...300
    /// The seconds that a device is given to answer where the caller does not say.
    public var responseTimeoutSecondsDefault = 30
    /// The longest time to wait for a device to connect, in seconds; what is asked beyond is clamped.
    public var connectTimeoutSecondsMax = 300
    /// How many calls may wait for the answers of one identity.
    public var inFlightPerIdentityMax = 1_000

    /// Azure's limits.
    public init() {}
}

/// What a twin may hold (docs/wire/http.md#twins).
public struct TwinLimits: Sendable, Hashable {
    /// The largest desired or reported section, in bytes of names and values: numbers 8, booleans 4, strings their
    /// UTF-8 length; brackets, commas and metadata do not count.
    public var sectionBytesMax = 32_768
    /// The largest tags, counted alike.
    public var tagsBytesMax = 8_192
    /// How much longer a section's text may be than what is counted of it.
    public var textToSizeMax = 4
    /// How deep objects and arrays nest below a section.
    public var depthMax = 10
    /// The longest name, in bytes of UTF-8.
    public var nameBytesMax = 1_024
    /// The longest string, in bytes of UTF-8.
    public var stringBytesMax = 4_096
    /// The longest text of a number; a fraction of full precision has about 25 characters.
    public var numberBytesMax = 64
    /// The integers that every client can read: 53 bits with sign.
    public var integers: ClosedRange<Int64> = -4_503_599_627_370_496...4_503_599_627_370_495
    /// What the parser of a request's body accepts: larger than the above, so that they can say what is wrong.
    public var json = JSONLimits(bytesMax: 1_048_576, depthMax: 32)

    /// Azure's limits.
    public init() {}
}
