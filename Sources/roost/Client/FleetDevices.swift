// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import HubClient
import Synchronization

/// The devices of a simulation: those that are there, and those that must be made.
struct FleetDevices: Sendable {
    /// Each with its key, in the order in which they were named.
    var devices: [FleetPlan.Device]
    /// The ids of those that were made.
    var made: [String]

    /// Finds the devices, and makes what is not there.
    ///
    /// - Parameters:
    ///   - ids: their ids.
    ///   - target: the hub.
    ///   - creates: whether missing devices are made; else they are an error.
    ///   - parallel: how many are asked for at once.
    /// - Returns: the devices.
    /// - Throws: ``CommandError`` and ``HubClientError``.
    static func prepare(
        _ ids: [String],
        of target: HubTarget,
        creates: Bool,
        parallel: Int = 8
    ) async throws -> FleetDevices {
        try await target.withService { service in
            var found: [Int: (device: FleetPlan.Device, isNew: Bool)] = [:]
            try await withThrowingTaskGroup(of: (Int, FleetPlan.Device, Bool).self) { tasks in
                for (index, id) in ids.enumerated() {
                    if index >= parallel, let (index, device, isNew) = try await tasks.next() {
                        found[index] = (device, isNew)
                    }
                    tasks.addTask {
                        let (device, isNew) = try await Self.one(id, of: service, creates: creates)
                        return (index, device, isNew)
                    }
                }
                for try await (index, device, isNew) in tasks {
                    found[index] = (device, isNew)
                }
            }
            let all = ids.indices.compactMap { found[$0] }
            return FleetDevices(devices: all.map(\.device), made: all.filter(\.isNew).map(\.device.id))
        }
    }

    private static func one(
        _ id: String,
        of service: ServiceClient,
        creates: Bool
    ) async throws -> (FleetPlan.Device, isNew: Bool) {
        let identity: DeviceIdentity
        var isNew = false
        do {
            identity = try await service.device(id).value
        } catch HubClientError.refused(let refusal) where refusal.status == 404 && creates {
            identity = try await service.create(DeviceIdentity(deviceID: id)).value
            isNew = true
        }
        return (.init(id: identity.deviceID, key: try DeviceConnectionStringCommand.key(of: identity)), isNew)
    }

    /// Deletes the devices that were made.
    func deleteMade(of target: HubTarget) async throws {
        guard !self.made.isEmpty else { return }
        let result = try await changeDevices(self.made.map { BulkChange(id: $0, importMode: .delete) }, of: target)
        guard result.errors.isEmpty else { throw CommandError.partlyDone(failures: result.errors.count) }
    }
}
