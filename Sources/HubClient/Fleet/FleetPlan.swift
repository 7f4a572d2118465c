// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

/// Many devices and how they connect.
public struct FleetPlan: Sendable {
    /// A device and its key.
    public struct Device: Hashable, Sendable {
        /// Its id.
        public let id: String
        /// Its key as base64 text.
        public let key: String

        /// Makes a device.
        public init(id: String, key: String) {
            self.id = id
            self.key = key
        }
    }

    /// Where the hub is.
    public var address: HubAddress
    /// The devices.
    public var devices: [Device]
    /// How many connections are made at once.
    public var connecting = 64
    /// How many event loops the devices share.
    public var threads = 1
    /// Over how many loopback addresses the connections are spread, so that more than the ports of one fit.
    public var sourceAddresses = 1
    /// Whether a device that lost its connection connects again.
    public var reconnects = false
    /// How long a device waits before it connects again: the first of these, and twice as long each time up to the last.
    public var backOff: ClosedRange<Duration> = .seconds(1)...(.seconds(60))
    /// Limits of each device.
    public var limits = DeviceClient.Limits()

    /// Makes a plan with the usual figures.
    ///
    /// - Parameters:
    ///   - address: where the hub is.
    ///   - devices: the devices.
    public init(address: HubAddress, devices: [Device]) {
        self.address = address
        self.devices = devices
    }

    /// How long to wait before the next try, between half of the time that is due and all of it, so that devices that were
    /// lost together do not come back together.
    ///
    /// - Parameters:
    ///   - failures: how many tries failed in a row, at least 1.
    ///   - spread: a random number from 0 to 1.
    /// - Returns: the time to wait.
    func delay(afterFailures failures: Int, spread: Double) -> Duration {
        let doublings = min(max(0, failures - 1), 30)
        let due = min(self.backOff.upperBound, self.backOff.lowerBound * Double(UInt64(1) << UInt64(doublings)))
        return due * (0.5 + spread / 2)
    }
}

/// What the devices of a fleet did so far; figures of several loops add up.
public struct FleetFigures: Sendable {
    /// Devices that are connected now.
    public var connected = 0
    /// Devices that are set up for what is measured.
    public var ready = 0
    /// Sign-ins that succeeded.
    public var signIns: UInt64 = 0
    /// Connections that could not be made or were refused.
    public var failed: UInt64 = 0
    /// Connections that were lost.
    public var lost: UInt64 = 0
    /// Telemetry messages given to connections.
    public var sent: UInt64 = 0
    /// Telemetry messages that the hub has stored.
    public var acknowledged: UInt64 = 0
    /// Method calls answered.
    public var methods: UInt64 = 0
    /// Changes of desired properties received.
    public var desired: UInt64 = 0
    /// Patches of reported properties that the hub has stored.
    public var reported: UInt64 = 0
    /// Commands received and completed.
    public var commands: UInt64 = 0
    /// Requests that the hub refused, and messages that were lost with their connection.
    public var errors: UInt64 = 0
    /// How long what is measured took.
    public var latency = LatencyHistogram()
    /// The first failure, for people.
    public var firstFailure: HubClientError?

    /// No figures yet.
    public init() {}

    mutating func add(_ other: FleetFigures) {
        self.connected += other.connected
        self.ready += other.ready
        self.signIns += other.signIns
        self.failed += other.failed
        self.lost += other.lost
        self.sent += other.sent
        self.acknowledged += other.acknowledged
        self.methods += other.methods
        self.desired += other.desired
        self.reported += other.reported
        self.commands += other.commands
        self.errors += other.errors
        self.latency.add(other.latency)
        self.firstFailure = self.firstFailure ?? other.firstFailure
    }
}
