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
        writer.member("connectedDeviceCount", self.hub.directory.connectedCount)
        writer.endObject()
        return .json(writer)
    }

    /// The path of an identity, which a narrow token must cover.
    static func path(of id: IdentityID) -> String {
        "devices/\(id.device)" + (id.module.map { "/modules/\($0)" } ?? "")
    }

    private func answer(_ identities: [RegisteredIdentity]) async throws -> Response {
        let counts = try await self.hub.commands.pendingCounts(of: identities.map(\.id.device))
        var writer = JSONWriter()
        writer.beginArray()
        for identity in identities {
            self.write(identity, commandCount: counts[identity.id.device] ?? 0, into: &writer)
        }
        writer.endArray()
        return .json(writer)
    }

    private func answer(_ identity: RegisteredIdentity) async throws -> Response {
        let count = try await self.hub.commands.pendingCount(of: identity.id)
        var writer = JSONWriter()
        self.write(identity, commandCount: count, into: &writer)
        var response = Response.json(writer)
        response.headers[.eTag] = "\"\(identity.etag)\""
        return response
    }

    private func write(_ identity: RegisteredIdentity, commandCount: Int, into writer: inout JSONWriter) {
        let presence = self.hub.directory.presence(of: identity.id)
        IdentityDocument.write(identity, presence: presence, commandCount: commandCount, into: &writer)
    }
}
