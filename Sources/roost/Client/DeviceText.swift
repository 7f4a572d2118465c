// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import HubClient

/// Devices as text for people, without their keys: `roost connection-string device` and `--json` give those.
enum DeviceText {
    /// One line for each device.
    static func table(_ devices: [DeviceIdentity]) -> String {
        var table = Table("DEVICE", "STATUS", "CONNECTION", "LAST ACTIVITY", "SIGNS IN BY")
        for device in devices {
            table.add(
                device.deviceID,
                device.status ?? "-",
                device.connectionState ?? "-",
                Sheet.time(device.lastActivityTime),
                device.authentication?.type ?? "-"
            )
        }
        return table.render()
    }

    /// One line for each thing that is known of a device.
    static func sheet(_ device: DeviceIdentity) -> String {
        var sheet = Sheet()
        sheet.add("device", device.deviceID)
        sheet.add("status", device.status)
        if let reason = device.statusReason, !reason.isEmpty {
            sheet.add("status reason", reason)
        }
        self.addSignIn(device.authentication, to: &sheet)
        sheet.add("connection", device.connectionState)
        sheet.add("connection changed", Sheet.time(device.connectionStateUpdatedTime))
        sheet.add("last activity", Sheet.time(device.lastActivityTime))
        sheet.add("commands waiting", String(device.cloudToDeviceMessageCount ?? 0))
        sheet.add("generation", device.generationID)
        sheet.add("etag", device.etag)
        if device.capabilities?.iotEdge == true {
            sheet.add("runs IoT Edge", "yes")
        }
        return sheet.render()
    }

    /// One line for each module of a device.
    static func table(_ modules: [ModuleIdentity]) -> String {
        var table = Table("MODULE", "CONNECTION", "LAST ACTIVITY", "SIGNS IN BY", "MANAGED BY")
        for module in modules {
            table.add(
                module.moduleID,
                module.connectionState ?? "-",
                Sheet.time(module.lastActivityTime),
                module.authentication?.type ?? "-",
                module.managedBy ?? "-"
            )
        }
        return table.render()
    }

    /// One line for each thing that is known of a module.
    static func sheet(_ module: ModuleIdentity) -> String {
        var sheet = Sheet()
        sheet.add("device", module.deviceID)
        sheet.add("module", module.moduleID)
        self.addSignIn(module.authentication, to: &sheet)
        sheet.add("managed by", module.managedBy)
        sheet.add("connection", module.connectionState)
        sheet.add("connection changed", Sheet.time(module.connectionStateUpdatedTime))
        sheet.add("last activity", Sheet.time(module.lastActivityTime))
        sheet.add("generation", module.generationID)
        sheet.add("etag", module.etag)
        return sheet.render()
    }

    /// Thumbprints are no secrets: whoever compares them with a certificate needs them.
    private static func addSignIn(_ authentication: DeviceIdentity.Authentication?, to sheet: inout Sheet) {
        sheet.add("signs in by", authentication?.type)
        sheet.add("thumbprint", authentication?.x509Thumbprint?.primaryThumbprint)
        sheet.add("second thumbprint", authentication?.x509Thumbprint?.secondaryThumbprint)
    }
}
