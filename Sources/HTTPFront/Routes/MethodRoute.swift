// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import HTTPTypes
import Hub
import HubModel
import HummingbirdCore
import JSON
import NIOCore

/// `POST /twins/{id}/methods` and `/twins/{id}/modules/{id}/methods` (docs/wire/http.md#methods).
extension ServiceResponder {
    func invokeMethod(_ id: IdentityID, _ request: Request) async throws -> Response {
        try self.checkLegal(id)
        let call = try Self.methodRequest(
            try await self.body(of: request, bytesMax: self.limits.documentBytesMax),
            limits: self.hub.limits.methods
        )
        let result = try await self.hub.methods.invoke(id, call)
        var writer = JSONWriter()
        writer.beginObject()
        writer.member("status", result.status)
        writer.name("payload")
        // The device's own text, that callers may compare it with; the C SDK fails without the member.
        if result.payload.readableBytes == 0 { writer.null() } else { writer.raw(result.payload) }
        writer.endObject()
        return .json(writer)
    }

    private static func methodRequest(_ body: JSONValue, limits: MethodLimits) throws(HubError) -> MethodRequest {
        guard body.kind == .object else { throw HubError(.formatError, "The body is no JSON object.") }
        guard let name = try IdentityDocument.string(body, "methodName"), !name.isEmpty else {
            throw HubError(.argumentInvalid, "methodName is missing.")
        }
        // The other two are what edge modules and older clients call it.
        var response: Int?
        for name in ["responseTimeoutInSeconds", "timeoutInSeconds", "timeout"] where response == nil {
            response = try self.seconds(body, name)
        }
        return MethodRequest(
            name: name,
            payload: body["payload"]?.raw ?? ByteBuffer(),
            responseTimeoutSeconds: response ?? limits.responseTimeoutSecondsDefault,
            connectTimeoutSeconds: try self.seconds(body, "connectTimeoutInSeconds") ?? 0
        )
    }

    private static func seconds(_ body: JSONValue, _ name: String) throws(HubError) -> Int? {
        guard let value = body[name], !value.isNull else { return nil }
        guard let number = value.int, number >= 0 else {
            throw HubError(.argumentInvalid, "\(name) is no whole number of seconds.")
        }
        return Int(clamping: number)
    }
}
