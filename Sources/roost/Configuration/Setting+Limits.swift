// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import HubModel

extension Setting {
    /// The hub's own limits, with Azure's values as defaults.
    static let limits: [Setting] = [
        .number(
            "limits.telemetryMessageBytes",
            \.limits.telemetryMessageSizeMax,
            1_024...1_048_576,
            "The largest device-to-cloud message with its properties."
        ),
        .number(
            "limits.clockSkewSeconds",
            \.limits.clockSkew,
            0...86_400,
            "How long after its expiry a token is still taken, for devices whose clocks are off."
        ),
        .number(
            "limits.readersPerPartition",
            \.limits.readersPerPartitionMax,
            1...1_000,
            "Readers without an owner level of one partition and consumer group at once."
        ),
        .number("limits.consumerGroups", \.limits.consumerGroupsMax, 1...1_000, "Consumer groups, $Default included."),
        .number("limits.modulesPerDevice", \.limits.modulesPerDeviceMax, 1...10_000, "Modules of one device."),
        .number("limits.devices", \.limits.devicesMax, 1...1_000_000_000, "Devices in the registry."),
        .number("limits.deviceListPage", \.limits.deviceListPageMax, 1...100_000, "Devices on one page of a list."),
        .number(
            "limits.bulkOperations",
            \.limits.bulkOperationsMax,
            1...10_000,
            "Operations of one bulk registry call."
        ),
        .number(
            "limits.presenceStoreSeconds",
            \.limits.presences.storeSeconds,
            1...3_600,
            "After how long connects and disconnects are stored; until then only memory knows of them."
        ),
        .number(
            "limits.presenceActivitySeconds",
            \.limits.presences.activitySeconds,
            1...86_400,
            "After how long the activity of connected devices is stored."
        ),
    ]
}

extension Limits {
    /// `clockSkewSeconds` as a plain number.
    fileprivate var clockSkew: Int {
        get { Int(clockSkewSeconds) }
        set { clockSkewSeconds = Int64(newValue) }
    }
}
