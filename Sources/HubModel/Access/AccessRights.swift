// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

/// What a shared access policy allows (docs/wire/security.md#policies).
public struct AccessRights: OptionSet, Sendable, Hashable {
    /// The bits, as they are stored.
    public let rawValue: UInt8

    /// Makes a set from stored bits.
    public init(rawValue: UInt8) {
        self.rawValue = rawValue
    }

    /// Reading the registry.
    public static let registryRead = AccessRights(rawValue: 1)
    /// Changing the registry; includes reading it.
    public static let registryWrite = AccessRights(rawValue: 2)
    /// Acting as a back end: reading events, sending commands, calling methods.
    public static let serviceConnect = AccessRights(rawValue: 4)
    /// Acting as a device.
    public static let deviceConnect = AccessRights(rawValue: 8)
}
