// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import HTTPTypes
import Hub
import HubModel
import HummingbirdCore
import JSON

/// `POST /devices`: many identities and twins in one call (docs/wire/http.md#bulk).
extension ServiceResponder {
    func bulk(_ request: Request) async throws -> Response {
        let body = try await self.body(of: request, bytesMax: self.limits.bulkBytesMax)
        guard body.kind == .array else { throw HubError(.formatError, "The body is no JSON array.") }
        let itemsMax = self.hub.limits.bulkOperationsMax
        // Counted before the entries are read, bad ones too.
        guard Array(body.elements.prefix(itemsMax + 1)).count <= itemsMax else {
            throw HubError(.quotaExceeded, "A bulk call carries 1 to \(itemsMax) devices.")
        }
        let entries = try body.elements.map { try BulkEntry($0, limits: self.hub.limits.twins) }
        guard !entries.isEmpty else { throw HubError(.argumentInvalid, "A bulk call carries at least one device.") }
        var seen: Set<IdentityID> = []
        for entry in entries where !seen.insert(entry.id).inserted {
            throw HubError(
                .deviceDefinedMultipleTimes,
                "DeviceDefinedMultipleTimes, device ID \(entry.id.device)"
            )
        }
        var outcomes = try await self.registered(entries)
        for (index, error) in await self.twinErrors(entries) { outcomes[index].error = error }
        // What is registered stays so where its twin did not follow: the caller is warned.
        return self.answer(entries, errors: outcomes.map(\.error), warnings: outcomes.map(\.twinError))
    }

    /// Carries out what concerns identities; answers in the order of entries what became of them.
    private func registered(_ entries: [BulkEntry]) async throws -> [BulkOutcome] {
        let items = entries.compactMap(\.item)
        var outcomes = items.isEmpty ? [] : try await self.registry.apply(items, twins: self.hub.twins)[...]
        return entries.map { entry in
            entry.item == nil ? BulkOutcome(error: entry.error) : outcomes.removeFirst()
        }
    }

    /// Carries out what concerns twins alone, all at once so that the store syncs once; answers what went wrong.
    private func twinErrors(_ entries: [BulkEntry]) async -> [(index: Int, error: HubError)] {
        let twins = self.hub.twins
        return await withTaskGroup(of: (Int, HubError)?.self) { group in
            for (index, entry) in entries.enumerated() {
                guard let part = entry.twin else { continue }
                group.addTask {
                    do {
                        try await twins.apply(part.change, to: entry.id, ifMatch: part.ifMatch)
                        return nil
                    } catch let error as HubError {
                        return (index, error)
                    } catch {
                        return (index, HubError(.internalError, "The twin could not be written."))
                    }
                }
            }
            var failed: [(Int, HubError)] = []
            for await case let failure? in group { failed.append(failure) }
            return failed
        }
    }

    private func answer(_ entries: [BulkEntry], errors: [HubError?], warnings: [HubError?]) -> Response {
        let isSuccessful = errors.allSatisfy { $0 == nil }
        var writer = JSONWriter()
        writer.beginObject()
        writer.member("isSuccessful", isSuccessful)
        writer.name("errors")
        writer.beginArray()
        for (entry, error) in zip(entries, errors) {
            guard let error else { continue }
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
        for (entry, warning) in zip(entries, warnings) {
            guard let warning else { continue }
            writer.beginObject()
            entry.writeID(into: &writer)
            writer.member("warningCode", "DeviceRegisteredWithoutTwin")
            writer.member("warningStatus", warning.message)
            writer.endObject()
        }
        writer.endArray()
        writer.endObject()
        guard !isSuccessful else { return .json(writer) }
        var response = Response.json(writer, status: .badRequest)
        response.headers[.iotHubErrorCode] = "BulkRegistryOperationFailure"
        response.headers[.bulkErrorCode] = "BulkRegistryOperationFailure"
        return response
    }
}

/// One item of a bulk call as it was sent: what it asks for, or why that can't be.
struct BulkEntry: Sendable {
    let id: IdentityID
    let operation: String
    /// What the registry is to do; nil where the entry is wrong in itself, and where only the twin is meant.
    private(set) var item: BulkItem?
    /// What is to become of the twin alone; nil where the registry is meant.
    private(set) var twin: BulkTwin?
    /// What is wrong with the entry in itself.
    private(set) var error: HubError?

    /// Reads an entry.
    ///
    /// - Throws: `.formatError` or `.argumentInvalid` where not even its id can be told
    init(_ value: JSONValue, limits: TwinLimits) throws(HubError) {
        guard value.kind == .object else { throw HubError(.formatError, "An item of the body is no JSON object.") }
        guard let device = try IdentityDocument.string(value, "id") else {
            throw HubError(.argumentInvalid, "An item of the body has no id.")
        }
        self.id = IdentityID(device: device, module: try IdentityDocument.string(value, "moduleId"))
        self.operation = try IdentityDocument.string(value, "importMode") ?? "createOrUpdate"
        do throws(HubError) {
            try self.read(value, limits: limits)
        } catch {
            self.item = nil
            self.twin = nil
            self.error = error
        }
    }

    /// Writes who the entry is about.
    func writeID(into writer: inout JSONWriter) {
        writer.member("deviceId", self.id.device)
        writer.member("moduleId", self.id.module)
    }

    private mutating func read(_ value: JSONValue, limits: TwinLimits) throws(HubError) {
        let suffix = "ifmatchetag"
        let lower = self.operation.lowercased()
        let checksETag = lower.hasSuffix(suffix)
        let name = checksETag ? lower.dropLast(suffix.count) : lower[...]
        if name == "updatetwin" {
            self.twin = BulkTwin(
                change: try TwinChange(serviceDocument: value, replaces: false, limits: limits),
                ifMatch: checksETag ? try Self.etag(value, "twinETag", self.operation) : nil
            )
            return
        }
        guard let mode = BulkMode.allCases.first(where: { $0.rawValue.lowercased() == name }) else {
            throw HubError(.argumentInvalid, "importMode is none of the known ones.")
        }
        var item = BulkItem(draft: IdentityDraft(id: self.id), mode: mode)
        if checksETag { item.ifMatch = try Self.etag(value, "eTag", self.operation) }
        if mode != .delete {
            item.draft = try IdentityDocument.draft(value, id: self.id, idMember: "id")
            item.twin = try Self.twin(value, checksETag: checksETag, limits: limits)
        }
        self.item = item
    }

    /// The parts of a twin that are registered with an identity; they replace those that an older one had.
    private static func twin(_ value: JSONValue, checksETag: Bool, limits: TwinLimits) throws(HubError) -> BulkTwin? {
        let change = try TwinChange(serviceDocument: value, replaces: true, limits: limits)
        if case .replace(nil, nil) = change { return nil }
        let etag = checksETag ? try IdentityDocument.string(value, "twinETag") : nil
        return BulkTwin(change: change, ifMatch: IfMatch(header: etag))
    }

    private static func etag(_ value: JSONValue, _ member: String, _ mode: String) throws(HubError) -> IfMatch {
        guard let ifMatch = IfMatch(header: try IdentityDocument.string(value, member)) else {
            throw HubError(.argumentInvalid, "importMode \(mode) needs \(member).")
        }
        return ifMatch
    }
}
