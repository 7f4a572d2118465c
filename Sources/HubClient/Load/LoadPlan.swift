// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

/// What a load generator does.
public struct LoadPlan: Sendable {
    /// Where the hub is.
    public var address: HubAddress
    /// How many devices sign in.
    public var devices = 100
    /// The ids of the devices are this and a number from 0.
    public var prefix = "load-"
    /// The key of all the devices as base64 text.
    public var key: String
    /// Whether messages are acknowledged (QoS 1).
    public var isAcknowledged = true
    /// Bytes in the body of each message.
    public var bodyBytes = 256
    /// How many messages of a device may wait for their PUBACK.
    public var window = 16
    /// Messages a second of all devices together; nil is as many as the windows allow.
    public var rate: Double?
    /// The property bag of each message, encoded.
    public var propertyBag = ""
    /// How many connections are made at once.
    public var connecting = 64
    /// Over how many loopback addresses the connections are spread, so that more than the ports of one fit.
    public var sourceAddresses = 1
    /// How many event loops the generator uses.
    public var threads = 1
    /// Seconds between packets that devices promise; the generator sends no pings, so it ends before that.
    public var keepAliveSeconds: UInt16 = 1200

    /// Makes a plan with the usual figures.
    ///
    /// - Parameters:
    ///   - address: where the hub is.
    ///   - key: the key of all the devices as base64 text.
    public init(address: HubAddress, key: String) {
        self.address = address
        self.key = key
    }
}

/// What a load generator saw; figures of several loops add up.
public struct LoadFigures: Sendable {
    /// Devices that signed in.
    public var connected = 0
    /// Sign-ins that did not succeed, and connections that were lost.
    public var failed = 0
    /// Messages written.
    public var sent: UInt64 = 0
    /// Messages acknowledged.
    public var acknowledged: UInt64 = 0
    /// From the writing of a PUBLISH to its PUBACK, while measuring.
    public var latency = LatencyHistogram()
    /// The first failure, for people.
    public var firstFailure: HubClientError?

    /// No figures yet.
    public init() {}

    mutating func add(_ other: LoadFigures) {
        self.connected += other.connected
        self.failed += other.failed
        self.sent += other.sent
        self.acknowledged += other.acknowledged
        self.latency.add(other.latency)
        self.firstFailure = self.firstFailure ?? other.firstFailure
    }
}
