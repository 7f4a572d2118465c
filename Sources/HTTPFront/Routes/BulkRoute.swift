// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import HTTPTypes
import Hub
import HubModel
import HummingbirdCore
import JSON

/// `POST /devices`: many identities in one call.
extension ServiceResponder {
    func bulk(_ request: Request) async throws -> Response {
        let body = try await self.body(of: request, bytesMax: self.limits.bulkBytesMax)
        guard body.kind == .array else { throw HubError(.formatError, "The body is no JSON array.") }
        let itemsMax = self.hub.limits.bulkOperationsMax
        // Counted before the entries are read, bad ones too.
        guard Array(body.elements.prefix(itemsMax + 1)).count <= itemsMax else {
            throw HubError(.argumentInvalid, "A bulk call carries 1 to \(itemsMax) devices.")
        }
        let entries = try body.elements.map { try BulkEntry($0) }
        let items = entries.compactMap(\.item)
        var outcomes = items.isEmpty && !entries.isEmpty ? [] : try await self.registry.apply(items)
        var errors: [(BulkEntry, HubError)] = []
        for entry in entries {
            if let error = entry.item == nil ? entry.error : outcomes.removeFirst() { errors.append((entry, error)) }
        }
        let failed = Set(errors.map { $0.0.id })
        return self.answer(errors: errors, warnings: entries.filter { $0.hasTwin && !failed.contains($0.id) })
    }

    private func answer(errors: [(BulkEntry, HubError)], warnings: [BulkEntry]) -> Response {
        var writer = JSONWriter()
        writer.beginObject()
        writer.member("isSuccessful", errors.isEmpty)
        writer.name("errors")
        writer.beginArray()
        for (entry, error) in errors {
            writer.beginObject()
            entry.writeID(into: &writer)
            // A name of the table: the .NET SDK fails on any other.
            writer.member("errorCode", ErrorMapping.code(error.code).name)
            writer.member("errorStatus", error.message)
            writer.member("operation", entry.operation)
            writer.endObject()
        }
        writer.endArray()
        writer.name("warnings")
        writer.beginArray()
        for entry in warnings {
            writer.beginObject()
            entry.writeID(into: &writer)
            writer.member("warningCode", "DeviceRegisteredWithoutTwin")
            writer.member(
                "warningStatus",
                "This hub does not take twins in bulk calls yet; tags and properties were ignored."
            )
            writer.endObject()
        }
        writer.endArray()
        writer.endObject()
        guard !errors.isEmpty else { return .json(writer) }
        var response = Response.json(writer, status: .badRequest)
        response.headers[.iotHubErrorCode] = "BulkRegistryOperationFailure"
        response.headers[.bulkErrorCode] = "BulkRegistryOperationFailure"
        return response
    }
}

/// One item of a bulk call as it was sent: what it asks for, or why that can't be.
struct BulkEntry {
    let id: IdentityID
    let operation: String
    /// Whether it carries parts of a twin.
    let hasTwin: Bool
    private let outcome: Result<BulkItem, HubError>

    /// The item for the registry, nil where the entry is wrong in itself.
    var item: BulkItem? {
        guard case .success(let item) = self.outcome else { return nil }
        return item
    }

    /// What is wrong with the entry in itself.
    var error: HubError? {
        guard case .failure(let error) = self.outcome else { return nil }
        return error
    }

    /// Reads an entry.
    ///
    /// - Throws: `.formatError` or `.argumentInvalid` where not even its id can be told
    init(_ value: JSONValue) throws(HubError) {
        guard value.kind == .object else { throw HubError(.formatError, "An item of the body is no JSON object.") }
        guard let device = try IdentityDocument.string(value, "id") else {
            throw HubError(.argumentInvalid, "An item of the body has no id.")
        }
        let id = IdentityID(device: device, module: try IdentityDocument.string(value, "moduleId"))
        self.id = id
        self.operation = try IdentityDocument.string(value, "importMode") ?? "createOrUpdate"
        self.hasTwin = ["tags", "properties"].contains { name in value[name].map { !$0.isNull } ?? false }
        self.outcome = Self.read(value, id: id, mode: self.operation)
    }

    /// Writes who the entry is about.
    func writeID(into writer: inout JSONWriter) {
        writer.member("deviceId", self.id.device)
        writer.member("moduleId", self.id.module)
    }

    private static func read(_ value: JSONValue, id: IdentityID, mode text: String) -> Result<BulkItem, HubError> {
        do throws(HubError) {
            guard id.module == nil else { throw HubError(.notSupported, "This hub does not offer modules yet.") }
            let suffix = "ifmatchetag"
            let lower = text.lowercased()
            let checksETag = lower.hasSuffix(suffix)
            let name = checksETag ? lower.dropLast(suffix.count) : lower[...]
            guard name != "updatetwin" else {
                throw HubError(.notSupported, "This hub does not take twins in bulk calls yet.")
            }
            guard let mode = BulkMode.allCases.first(where: { $0.rawValue.lowercased() == name }) else {
                throw HubError(.argumentInvalid, "importMode is none of the known ones.")
            }
            var item = BulkItem(draft: IdentityDraft(id: id), mode: mode)
            if mode != .delete { item.draft = try IdentityDocument.draft(value, id: id, idMember: "id") }
            if checksETag {
                guard let etag = try IdentityDocument.string(value, "eTag") else {
                    throw HubError(.argumentInvalid, "importMode \(text) needs an eTag.")
                }
                item.ifMatch = IfMatch(header: etag)
            }
            return .success(item)
        } catch {
            return .failure(error)
        }
    }
}
