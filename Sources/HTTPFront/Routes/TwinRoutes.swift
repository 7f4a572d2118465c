// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import HTTPTypes
import Hub
import HubModel
import HummingbirdCore
import NIOCore

/// `/twins/{id}` and `/twins/{id}/modules/{id}` (docs/wire/http.md#twins).
extension ServiceResponder {
    func twin(_ id: IdentityID) async throws -> Response {
        try self.checkLegal(id)
        return self.answer(try await self.hub.twins.document(of: id))
    }

    /// A PATCH merges, a PUT replaces.
    func writeTwin(_ id: IdentityID, _ request: Request, replaces: Bool) async throws -> Response {
        try self.checkLegal(id)
        let body = try await self.bytes(of: request, bytesMax: self.limits.documentBytesMax)
        let ifMatch = IfMatch(header: request.headers[.ifMatch])
        return self.answer(try await self.hub.twins.write(id, body: body, replaces: replaces, ifMatch: ifMatch))
    }

    /// The path that a narrow token must cover.
    static func twinPath(_ id: IdentityID) -> String {
        "twins/\(id.device)" + (id.module.map { "/modules/\($0)" } ?? "")
    }

    func checkLegal(_ id: IdentityID) throws(HubError) {
        guard IdentityID.isLegal(id.device), id.module.map({ IdentityID.isLegal($0) }) ?? true else {
            throw HubError(.argumentInvalid, "The ID holds a character that is not allowed, or is too long.")
        }
    }

    private func answer(_ document: Twins.Document) -> Response {
        var response = Response(
            status: .ok,
            headers: [.contentType: "application/json; charset=utf-8"],
            body: ResponseBody(byteBuffer: document.text)
        )
        response.headers[.eTag] = "\"\(document.etag)\""
        return response
    }
}
