// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import Hub
import HubModel
import JSON

/// The identity document as the service API writes and reads it (docs/wire/http.md#identities).
enum IdentityDocument {
    /// Writes the document of a device or a module.
    static func write(
        _ identity: RegisteredIdentity,
        activity: IdentityActivity,
        into writer: inout JSONWriter
    ) {
        guard identity.id.module == nil else { return self.writeModule(identity, activity: activity, into: &writer) }
        writer.beginObject()
        writer.member("deviceId", identity.id.device)
        writer.member("generationId", identity.generationID)
        writer.member("etag", identity.etag)
        writer.member("connectionState", activity.connectionState)
        writer.member("status", identity.status.rawValue)
        writer.member("statusReason", identity.statusReason)
        writer.member("connectionStateUpdatedTime", DocumentTime.iso(activity.presence?.changedMilliseconds))
        writer.member("statusUpdatedTime", DocumentTime.iso(identity.statusUpdatedMilliseconds))
        writer.member("lastActivityTime", DocumentTime.iso(activity.presence?.lastActivityMilliseconds))
        writer.member("cloudToDeviceMessageCount", activity.commandCount)
        writer.name("authentication")
        self.writeAuthentication(identity, into: &writer)
        writer.name("capabilities")
        writer.beginObject()
        writer.member("iotEdge", identity.isEdge)
        writer.endObject()
        if let scope = identity.deviceScope { writer.member("deviceScope", scope) }
        writer.name("parentScopes")
        writer.beginArray()
        for scope in identity.parentScopes { writer.string(scope) }
        writer.endArray()
        writer.endObject()
    }

    /// A module has neither status nor capabilities nor scopes of its own.
    private static func writeModule(
        _ identity: RegisteredIdentity,
        activity: IdentityActivity,
        into writer: inout JSONWriter
    ) {
        writer.beginObject()
        writer.member("moduleId", identity.id.module)
        writer.member("managedBy", identity.managedBy)
        writer.member("deviceId", identity.id.device)
        writer.member("generationId", identity.generationID)
        writer.member("etag", identity.etag)
        writer.member("connectionState", activity.connectionState)
        writer.member("connectionStateUpdatedTime", DocumentTime.iso(activity.presence?.changedMilliseconds))
        writer.member("lastActivityTime", DocumentTime.iso(activity.presence?.lastActivityMilliseconds))
        writer.member("cloudToDeviceMessageCount", activity.commandCount)
        writer.name("authentication")
        self.writeAuthentication(identity, into: &writer)
        writer.endObject()
    }

    /// Writes the credentials; `type` comes last, for the .NET SDK's other setters change it.
    private static func writeAuthentication(_ identity: RegisteredIdentity, into writer: inout JSONWriter) {
        writer.beginObject()
        writer.name("symmetricKey")
        writer.beginObject()
        writer.member("primaryKey", identity.symmetricKeys.primary)
        writer.member("secondaryKey", identity.symmetricKeys.secondary)
        writer.endObject()
        writer.name("x509Thumbprint")
        writer.beginObject()
        writer.member("primaryThumbprint", identity.thumbprints.primary)
        writer.member("secondaryThumbprint", identity.thumbprints.secondary)
        writer.endObject()
        writer.member("type", identity.authentication.rawValue)
        writer.endObject()
    }

    /// Reads what a client asks an identity to be; members that only the hub sets are ignored, null means absent.
    ///
    /// Throws `.argumentInvalid` for a member of the wrong type, and for another id than the route's.
    static func draft(_ value: JSONValue, id: IdentityID, idMember: String) throws(HubError) -> IdentityDraft {
        guard value.kind == .object else { throw HubError(.formatError, "The body is no JSON object.") }
        try self.check(value, idMember, is: id.device)
        if let module = id.module { try self.check(value, "moduleId", is: module) }
        var draft = IdentityDraft(id: id)
        if let authentication = try self.object(value, "authentication") {
            draft.authentication = try self.type(authentication)
            draft.symmetricKeys = try self.pair(authentication, "symmetricKey", "primaryKey", "secondaryKey")
            draft.thumbprints = try self.pair(
                authentication,
                "x509Thumbprint",
                "primaryThumbprint",
                "secondaryThumbprint"
            )
        }
        // The rest is of devices: a module follows its device in all of it.
        guard id.module == nil else {
            draft.managedBy = try self.string(value, "managedBy")
            return draft
        }
        draft.status = try self.status(value)
        draft.statusReason = try self.string(value, "statusReason")
        if let edge = try self.object(value, "capabilities")?["iotEdge"], !edge.isNull {
            guard let isEdge = edge.bool else { throw self.wrongType("capabilities.iotEdge") }
            draft.isEdge = isEdge
        }
        draft.deviceScope = try self.string(value, "deviceScope")
        if let scopes = value["parentScopes"], !scopes.isNull {
            guard scopes.kind == .array else { throw self.wrongType("parentScopes") }
            for scope in scopes.elements {
                guard let text = scope.string else { throw self.wrongType("parentScopes") }
                draft.parentScopes.append(text)
            }
        }
        return draft
    }

    private static func check(_ value: JSONValue, _ member: String, is id: String) throws(HubError) {
        guard let given = try self.string(value, member), given != id else { return }
        throw HubError(.argumentInvalid, "\(member) is not the ID that the request names.")
    }

    private static func status(_ value: JSONValue) throws(HubError) -> IdentityStatus? {
        guard let text = try self.string(value, "status") else { return nil }
        guard let status = IdentityStatus(rawValue: text.lowercased()) else {
            throw HubError(.argumentInvalid, "status is 'enabled' or 'disabled'.")
        }
        return status
    }

    private static func type(_ value: JSONValue) throws(HubError) -> AuthenticationType? {
        guard let text = try self.string(value, "type") else { return nil }
        let types: [AuthenticationType] = [.sas, .selfSigned, .certificateAuthority, .none]
        guard let type = types.first(where: { $0.rawValue.lowercased() == text.lowercased() }) else {
            throw HubError(
                .argumentInvalid,
                "authentication.type is 'sas', 'selfSigned', 'certificateAuthority' or 'none'."
            )
        }
        return type
    }

    private static func pair(
        _ value: JSONValue,
        _ name: String,
        _ first: String,
        _ second: String
    ) throws(HubError) -> CredentialPair {
        guard let pair = try self.object(value, name) else { return CredentialPair() }
        return CredentialPair(primary: try self.string(pair, first), secondary: try self.string(pair, second))
    }

    static func string(_ value: JSONValue, _ name: String) throws(HubError) -> String? {
        guard let member = value[name], !member.isNull else { return nil }
        guard let text = member.string else { throw self.wrongType(name) }
        return text
    }

    private static func object(_ value: JSONValue, _ name: String) throws(HubError) -> JSONValue? {
        guard let member = value[name], !member.isNull else { return nil }
        guard member.kind == .object else { throw self.wrongType(name) }
        return member
    }

    private static func wrongType(_ name: String) -> HubError {
        HubError(.argumentInvalid, "\(name) has a value of the wrong type.")
    }
}
