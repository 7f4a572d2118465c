// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import HTTPTypes
import Hub
import HubModel
import HummingbirdCore
import JSON

/// `/devices`, `/devices/{id}` and `/statistics`.
extension ServiceResponder {
    func device(_ id: String) async throws -> Response {
        self.answer(try await self.registry.identity(IdentityID(device: id)))
    }

    func putDevice(_ id: String, _ request: Request) async throws -> Response {
        let body = try await self.body(of: request, bytesMax: self.limits.documentBytesMax)
        let draft = try IdentityDocument.draft(body, id: IdentityID(device: id), idMember: "deviceId")
        let ifMatch = IfMatch(header: request.headers[.ifMatch])
        return self.answer(try await self.registry.put(draft, ifMatch: ifMatch))
    }

    func deleteDevice(_ id: String, _ request: Request) async throws -> Response {
        try await self.registry.delete(IdentityID(device: id), ifMatch: IfMatch(header: request.headers[.ifMatch]))
        return Response(status: .noContent)
    }

    func listDevices(_ query: ServiceQuery) async throws -> Response {
        var top: Int?
        if let text = query.top {
            guard let number = Int(text) else { throw HubError(.argumentInvalid, "top is not a number.") }
            top = number
        }
        let devices = try await self.registry.devices(top: top)
        var writer = JSONWriter()
        writer.beginArray()
        for device in devices {
            IdentityDocument.write(device, presence: self.hub.directory.presence(of: device.id), into: &writer)
        }
        writer.endArray()
        return .json(writer)
    }

    func deviceStatistics() async throws -> Response {
        let counts = try await self.registry.deviceCounts()
        var writer = JSONWriter()
        writer.beginObject()
        writer.member("totalDeviceCount", counts.total)
        writer.member("enabledDeviceCount", counts.enabled)
        writer.member("disabledDeviceCount", counts.total - counts.enabled)
        writer.endObject()
        return .json(writer)
    }

    func serviceStatistics() -> Response {
        var writer = JSONWriter()
        writer.beginObject()
        writer.member("connectedDeviceCount", self.hub.directory.connectedCount)
        writer.endObject()
        return .json(writer)
    }

    private func answer(_ device: RegisteredIdentity) -> Response {
        var writer = JSONWriter()
        IdentityDocument.write(device, presence: self.hub.directory.presence(of: device.id), into: &writer)
        var response = Response.json(writer)
        response.headers[.eTag] = "\"\(device.etag)\""
        return response
    }
}
