// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import HTTPTypes
import Hub
import HubModel
import HummingbirdCore
import JSON

/// `POST /devices/keys/regenerate` (docs/wire/http.md#keys).
extension ServiceResponder {
    func regenerateKeys(_ request: Request) async throws -> Response {
        let body = try await self.body(of: request, bytesMax: self.limits.documentBytesMax)
        guard body.kind == .object else { throw HubError(.formatError, "The body is no JSON object.") }
        let slots: Set<KeySlot>
        let policyKey = try IdentityDocument.string(body, "policyKey") ?? ""
        switch policyKey.lowercased() {
        case "primarykey": slots = [.primary]
        case "secondarykey": slots = [.secondary]
        case "both": slots = [.primary, .secondary]
        default: throw HTTPFailure.invalidPolicyKey
        }
        let ids = try self.keyOwners(body)
        let registry = self.registry
        // All at once, so that the store syncs once.
        let outcomes = await withTaskGroup(of: (Int, Result<RegisteredIdentity, any Error>).self) { group in
            for (index, id) in ids.enumerated() {
                group.addTask {
                    do {
                        return (index, .success(try await registry.regenerateKeys(of: id, slots)))
                    } catch {
                        return (index, .failure(error))
                    }
                }
            }
            var outcomes = [Result<RegisteredIdentity, any Error>?](repeating: nil, count: ids.count)
            for await (index, outcome) in group { outcomes[index] = outcome }
            return outcomes
        }
        return self.answer(ids, policyKey, outcomes.compactMap { $0 })
    }

    private func keyOwners(_ body: JSONValue) throws(HubError) -> [IdentityID] {
        guard let devices = body["devices"], devices.kind == .array else {
            throw HubError(.argumentInvalid, "devices is no array.")
        }
        let itemsMax = self.hub.limits.bulkOperationsMax
        var ids: [IdentityID] = []
        for device in devices.elements {
            guard device.kind == .object, let id = try IdentityDocument.string(device, "id") else {
                throw HubError(.argumentInvalid, "An item of devices has no id.")
            }
            ids.append(IdentityID(device: id, module: try IdentityDocument.string(device, "moduleId")))
            guard ids.count <= itemsMax else {
                throw HubError(.quotaExceeded, "A bulk call carries 1 to \(itemsMax) devices.")
            }
        }
        guard !ids.isEmpty else { throw HubError(.argumentInvalid, "A bulk call carries at least one device.") }
        var seen: Set<IdentityID> = []
        for id in ids where !seen.insert(id).inserted {
            throw HubError(.deviceDefinedMultipleTimes, "DeviceDefinedMultipleTimes, device ID \(id.device)")
        }
        return ids
    }

    private func answer(
        _ ids: [IdentityID],
        _ policyKey: String,
        _ outcomes: [Result<RegisteredIdentity, any Error>]
    ) -> Response {
        var writer = JSONWriter()
        writer.beginObject()
        writer.member("policyKey", policyKey)
        writer.name("rotatedKeys")
        writer.beginArray()
        var rotated = 0
        for case .success(let identity) in outcomes {
            rotated += 1
            writer.beginObject()
            writer.member("id", identity.id.device)
            writer.member("moduleId", identity.id.module)
            writer.member("primaryKey", identity.symmetricKeys.primary)
            writer.member("secondaryKey", identity.symmetricKeys.secondary)
            writer.endObject()
        }
        writer.endArray()
        writer.name("errors")
        writer.beginArray()
        for (id, outcome) in zip(ids, outcomes) {
            guard case .failure(let error) = outcome else { continue }
            let failure = ErrorMapping.failure(error)
            writer.beginObject()
            writer.member("id", id.device)
            writer.member("moduleId", id.module)
            writer.member("errorCode", failure.number)
            writer.member("errorStatus", failure.message)
            writer.endObject()
        }
        writer.endArray()
        writer.endObject()
        guard rotated < ids.count else { return .json(writer) }
        var response = Response.json(writer, status: rotated == 0 ? .badRequest : .init(code: 207))
        response.headers[.iotHubErrorCode] = "BulkRegenerateDeviceKeyOperationFailure"
        return response
    }
}
