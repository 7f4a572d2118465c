// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import Hub
import HubModel
import JSON

/// The document of a certificate authority, in the form of the resource manager (docs/wire/http.md#authorities).
enum AuthorityDocument {
    /// Writes the document; the code is shown to whoever has just asked for it, and to nobody else.
    static func write(_ authority: CertificateAuthority, showsCode: Bool = false, into writer: inout JSONWriter) {
        let facts = CertificateFacts(der: authority.certificate)
        writer.beginObject()
        writer.member("id", "/certificates/\(authority.name)")
        writer.member("name", authority.name)
        writer.member("type", "Microsoft.Devices/IotHubs/Certificates")
        writer.member("etag", authority.etag)
        writer.name("properties")
        writer.beginObject()
        writer.member("subject", facts?.subject)
        writer.member("expiry", facts.map { DocumentTime.rfc1123($0.expiresSeconds * 1000) })
        writer.member("thumbprint", facts?.thumbprint)
        writer.member("isVerified", authority.isVerified)
        writer.member("created", DocumentTime.rfc1123(authority.createdMilliseconds))
        writer.member("updated", DocumentTime.rfc1123(authority.updatedMilliseconds))
        writer.member("certificate", Base64.encode(authority.certificate))
        if showsCode { writer.member("verificationCode", authority.verificationCode) }
        writer.endObject()
        writer.endObject()
    }

    /// What a client asks an authority to be.
    ///
    /// Throws `.argumentInvalid` for a member that is missing or of the wrong type.
    static func request(_ body: JSONValue) throws(HubError) -> (certificate: String, isVerified: Bool?) {
        guard let properties = body["properties"], properties.kind == .object,
            let certificate = properties["certificate"]?.string
        else { throw HubError(.argumentInvalid, "properties.certificate is missing.") }
        guard let flag = properties["isVerified"], !flag.isNull else { return (certificate, nil) }
        guard let isVerified = flag.bool else {
            throw HubError(.argumentInvalid, "properties.isVerified is true or false.")
        }
        return (certificate, isVerified)
    }
}
