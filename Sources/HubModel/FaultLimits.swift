// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

/// Whether devices may ask the hub for faults, and how long those may last (docs/operating.md#fault-injection).
public struct FaultLimits: Sendable, Hashable {
    /// Whether they may; never on a hub that somebody relies on.
    public var isEnabled = false
    /// The longest delay and the longest duration, in seconds; what is asked beyond is clamped.
    public var secondsMax = 3_600
    /// How many identities may be in a fault at once.
    public var identitiesMax = 10_000

    /// The defaults.
    public init() {}
}
