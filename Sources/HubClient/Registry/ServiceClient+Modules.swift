// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import FoundationEssentials
import NIOHTTP1

/// The modules of a device.
extension ServiceClient {
    /// Reads one module.
    public func module(_ id: String, of deviceID: String) async throws -> Answer<ModuleIdentity> {
        try await self.send(.GET, path: self.path(of: id, of: deviceID)).decoded()
    }

    /// Lists the modules of a device.
    public func modules(of deviceID: String) async throws -> Answer<[ModuleIdentity]> {
        try await self.send(.GET, path: "/devices/\(percentEncoded(deviceID))/modules").decoded()
    }

    /// Makes a module; it is an error if it exists.
    public func create(_ module: ModuleIdentity) async throws -> Answer<ModuleIdentity> {
        let body = try JSONEncoder().encode(module)
        return try await self.send(.PUT, path: self.path(of: module.moduleID, of: module.deviceID), body: body)
            .decoded()
    }

    /// Takes a module away.
    public func deleteModule(_ id: String, of deviceID: String, ifMatch etag: String?) async throws {
        let answer = try await self.send(.DELETE, path: self.path(of: id, of: deviceID), ifMatch: etag ?? "*")
        guard (200..<300).contains(answer.status) else { throw answer.refusal }
    }

    private func path(of id: String, of deviceID: String) -> String {
        "/devices/\(percentEncoded(deviceID))/modules/\(percentEncoded(id))"
    }
}
