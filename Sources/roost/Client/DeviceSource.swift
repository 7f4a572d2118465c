// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import HubClient
import HubModel

extension HubTarget {
    /// What a device of this hub signs in with: the connection string's own device, or the one named, whose key the
    /// registry tells.
    ///
    /// - Parameter deviceID: the device; nil is the connection string's.
    /// - Returns: the sign-in.
    /// - Throws: ``CommandError`` and ``HubClientError``.
    func deviceSignIn(_ deviceID: String?) async throws -> DeviceSignIn {
        let hostName = self.address.bareHostName
        if case .device(let id) = self.connectionString.peer {
            guard deviceID == nil || deviceID == id else { throw CommandError.needsPolicy }
            return DeviceSignIn(hostName: hostName, deviceID: id, key: self.connectionString.key)
        }
        guard let deviceID else { throw CommandError.needsDevice }
        let device = try await self.withService { try await $0.device(deviceID).value }
        let key = try DeviceConnectionStringCommand.key(of: device)
        return DeviceSignIn(hostName: hostName, deviceID: device.deviceID, key: key)
    }
}
