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
                time(device.lastActivityTime),
                device.authentication?.type ?? "-"
            )
        }
        return table.render()
    }

    /// One line for each thing that is known of a device.
    static func sheet(_ device: DeviceIdentity) -> String {
        var lines: [(String, String)] = [
            ("device", device.deviceID),
            ("status", device.status ?? "-"),
        ]
        if let reason = device.statusReason, !reason.isEmpty {
            lines.append(("status reason", reason))
        }
        lines += [
            ("signs in by", device.authentication?.type ?? "-"),
            ("connection", device.connectionState ?? "-"),
            ("connection changed", time(device.connectionStateUpdatedTime)),
            ("last activity", time(device.lastActivityTime)),
            ("commands waiting", String(device.cloudToDeviceMessageCount ?? 0)),
            ("generation", device.generationID ?? "-"),
            ("etag", device.etag ?? "-"),
        ]
        if device.capabilities?.iotEdge == true {
            lines.append(("runs IoT Edge", "yes"))
        }
        let width = lines.map(\.0.count).max() ?? 0
        return lines.map { name, value in
            name + String(repeating: " ", count: width - name.count + 2) + printable(value) + "\n"
        }.joined()
    }

    /// A time of the registry; year 1 is how it writes "never".
    private static func time(_ text: String?) -> String {
        guard let text, !text.hasPrefix("0001-") else { return "never" }
        return text
    }
}
