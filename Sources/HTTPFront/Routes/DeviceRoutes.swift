// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import HTTPTypes
import Hub
import HubModel
import HummingbirdCore
import JSON

/// `/devices`, `/devices/{id}`, `/devices/{id}/modules`, `/devices/{id}/modules/{id}` and `/statistics`.
extension ServiceResponder {
    func identity(_ id: IdentityID) async throws -> Response {
        try await self.answer(try await self.registry.identity(id))
    }

    func putIdentity(_ id: IdentityID, _ request: Request) async throws -> Response {
        let body = try await self.body(of: request, bytesMax: self.limits.documentBytesMax)
        let draft = try IdentityDocument.draft(body, id: id, idMember: "deviceId")
        let ifMatch = IfMatch(header: request.headers[.ifMatch])
        return try await self.answer(try await self.registry.put(draft, ifMatch: ifMatch))
    }

    func deleteIdentity(_ id: IdentityID, _ request: Request) async throws -> Response {
        try await self.registry.delete(id, ifMatch: IfMatch(header: request.headers[.ifMatch]))
        return Response(status: .noContent)
    }

    func listDevices(_ query: ServiceQuery) async throws -> Response {
        var top: Int?
        if let text = query.top {
            guard let number = Int(text) else { throw HubError(.argumentInvalid, "top is not a number.") }
            top = number
        }
        return try await self.answer(try await self.registry.devices(top: top))
    }

    func listModules(_ device: String) async throws -> Response {
        try await self.answer(try await self.registry.modules(of: device))
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
        writer.member("connectedDeviceCount", self.hub.directory.connectedDeviceCount)
        writer.endObject()
        return .json(writer)
    }

    /// The path of an identity, which a narrow token must cover.
    static func path(of id: IdentityID) -> String {
        "devices/\(id.device)" + (id.module.map { "/modules/\($0)" } ?? "")
    }

    private func answer(_ identities: [RegisteredIdentity]) async throws -> Response {
        let activities = try await self.hub.presences.activities(of: identities.map(\.id))
        var writer = JSONWriter()
        writer.beginArray()
        for identity in identities {
            let activity = activities[identity.id] ?? IdentityActivity()
            IdentityDocument.write(identity, activity: activity, into: &writer)
        }
        writer.endArray()
        return .json(writer)
    }

    private func answer(_ identity: RegisteredIdentity) async throws -> Response {
        let activity = try await self.hub.presences.activity(of: identity.id)
        var writer = JSONWriter()
        IdentityDocument.write(identity, activity: activity, into: &writer)
        var response = Response.json(writer)
        response.headers[.eTag] = "\"\(identity.etag)\""
        return response
    }
}
