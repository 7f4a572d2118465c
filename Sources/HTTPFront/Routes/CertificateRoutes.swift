// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import HTTPTypes
import Hub
import HubModel
import HummingbirdCore
import JSON

/// Certificate authorities, by the calls of the original's resource manager (docs/wire/http.md#authorities).
extension ServiceResponder {
    func certificates(
        _ name: String?,
        _ action: String?,
        _ method: HTTPRequest.Method,
        _ request: Request
    ) async throws -> Response {
        let authorities = self.hub.authorities
        let ifMatch = IfMatch(header: request.headers[.ifMatch])
        switch (name, action, method) {
        case (nil, _, .get): return self.answer(try await authorities.list())
        case (let name?, nil, .get): return self.answer(try await authorities.authority(name))
        case (let name?, nil, .put):
            let wanted = try AuthorityDocument.request(try await self.document(request))
            let made = try await authorities.put(
                name,
                certificate: wanted.certificate,
                isVerified: wanted.isVerified,
                ifMatch: ifMatch
            )
            return self.answer(made, status: made.createdMilliseconds == made.updatedMilliseconds ? .created : .ok)
        case (let name?, nil, .delete):
            try await authorities.remove(name, ifMatch: ifMatch)
            return Response(status: .noContent)
        case (let name?, "generateverificationcode", .post):
            let authority = try await authorities.makeVerificationCode(name, ifMatch: ifMatch)
            return self.answer(authority, showsCode: true)
        case (let name?, "verify", .post):
            guard let proof = try await self.document(request)["certificate"]?.string else {
                throw HubError(.argumentInvalid, "certificate is missing.")
            }
            return self.answer(try await authorities.verify(name, proof: proof, ifMatch: ifMatch))
        case (_, nil, _), (_, "generateverificationcode", _), (_, "verify", _): throw HTTPFailure.noSuchMethod
        default: throw HTTPFailure.noSuchRoute
        }
    }

    private func document(_ request: Request) async throws -> JSONValue {
        try await self.body(of: request, bytesMax: self.limits.documentBytesMax)
    }

    private func answer(
        _ authority: CertificateAuthority,
        showsCode: Bool = false,
        status: HTTPResponse.Status = .ok
    ) -> Response {
        var writer = JSONWriter()
        AuthorityDocument.write(authority, showsCode: showsCode, into: &writer)
        var response = Response.json(writer, status: status)
        response.headers[.eTag] = "\"\(authority.etag)\""
        return response
    }

    private func answer(_ authorities: [CertificateAuthority]) -> Response {
        var writer = JSONWriter()
        writer.beginObject()
        writer.name("value")
        writer.beginArray()
        for authority in authorities { AuthorityDocument.write(authority, into: &writer) }
        writer.endArray()
        writer.endObject()
        return .json(writer)
    }
}
