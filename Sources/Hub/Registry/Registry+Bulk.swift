// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

public import HubModel

/// What one item of a bulk call does.
public enum BulkMode: String, Sendable, Hashable, CaseIterable {
    /// Makes an identity that must not exist.
    case create
    /// Makes or replaces one.
    case createOrUpdate
    /// Replaces one that must exist.
    case update
    /// Removes one that must exist.
    case delete
}

/// One item of a bulk call.
public struct BulkItem: Sendable, Hashable {
    /// What the identity shall be; for a removal only the id counts.
    public var draft: IdentityDraft
    /// What is to be done.
    public var mode: BulkMode
    /// Which version is meant; nil for any.
    public var ifMatch: IfMatch?

    /// Makes an item.
    public init(draft: IdentityDraft, mode: BulkMode, ifMatch: IfMatch? = nil) {
        self.draft = draft
        self.mode = mode
        self.ifMatch = ifMatch
    }
}

extension Registry {
    /// Carries out items, each by itself; answers in their order what went wrong, nil where nothing did.
    ///
    /// All are committed together; only those that another change came in between are tried by themselves.
    ///
    /// - Throws: `.argumentInvalid` for no items, `.quotaExceeded` for too many, `.deviceDefinedMultipleTimes` for the same identity twice
    public func apply(_ items: [BulkItem]) async throws -> [HubError?] {
        guard !items.isEmpty else { throw HubError(.argumentInvalid, "A bulk call carries at least one device.") }
        guard items.count <= self.limits.bulkOperationsMax else {
            throw HubError(.quotaExceeded, "A bulk call carries 1 to \(self.limits.bulkOperationsMax) devices.")
        }
        var seen: Set<IdentityID> = []
        for item in items where !seen.insert(item.draft.id).inserted {
            throw HubError(
                .deviceDefinedMultipleTimes,
                "DeviceDefinedMultipleTimes, device ID \(item.draft.id.device)"
            )
        }
        var errors = [HubError?](repeating: nil, count: items.count)
        var prepared: [(item: Int, work: Prepared, first: Int)] = []
        var writes: [IdentityWrite] = []
        for (index, item) in items.enumerated() {
            do {
                let work = try self.prepare(item, existing: try await self.store.identity(item.draft.id))
                prepared.append((index, work, writes.count))
                writes += work.writes
            } catch let error as HubError where !error.code.isTransient {
                errors[index] = error
            }
        }
        let outcomes = writes.isEmpty ? [] : try await self.store.apply(writes)
        for (index, work, first) in prepared {
            switch outcomes[first] {
            case .success(let before): self.revoke(before: before, after: work.after)
            case .failure(let error) where Self.isOvertaken(items[index], by: error):
                errors[index] = await self.error(of: items[index])
            case .failure(let error): errors[index] = error
            }
        }
        return errors
    }

    private func error(of item: BulkItem) async -> HubError? {
        do {
            _ = try await self.write(item, checksScopes: false)
            return nil
        } catch let error as HubError {
            return error
        } catch {
            return HubError(.internalError, "The item could not be carried out.")
        }
    }
}
