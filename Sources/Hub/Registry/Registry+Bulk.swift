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

/// What an item of a bulk call asks of a twin.
public struct BulkTwin: Sendable {
    /// What is to be changed.
    public var change: TwinChange
    /// Which version is meant; nil for any.
    public var ifMatch: IfMatch?

    /// Puts the two together.
    public init(change: TwinChange, ifMatch: IfMatch? = nil) {
        self.change = change
        self.ifMatch = ifMatch
    }
}

/// What became of an item of a bulk call.
public struct BulkOutcome: Sendable {
    /// Why nothing was done, nil where it was.
    public var error: HubError?
    /// Why the twin is not as it should be although the identity is, nil where it is.
    public var twinError: HubError?

    /// Makes an outcome.
    public init(error: HubError? = nil, twinError: HubError? = nil) {
        self.error = error
        self.twinError = twinError
    }
}

/// One item of a bulk call.
public struct BulkItem: Sendable {
    /// What the identity shall be; for a removal only the id counts.
    public var draft: IdentityDraft
    /// What is to be done.
    public var mode: BulkMode
    /// Which version is meant; nil for any.
    public var ifMatch: IfMatch?
    /// What is to become of the identity's twin in the same step; nil for nothing.
    public var twin: BulkTwin?

    /// Makes an item.
    public init(draft: IdentityDraft, mode: BulkMode, ifMatch: IfMatch? = nil) {
        self.draft = draft
        self.mode = mode
        self.ifMatch = ifMatch
    }
}

extension Registry {
    /// Carries out items, each by itself and as a whole; answers in their order what became of them.
    ///
    /// All are committed together; only those that another change came in between are tried by themselves. `twins` takes
    /// care of the twins' parts, which are passed over where it is nil.
    ///
    /// - Throws: `.argumentInvalid` for no items, `.quotaExceeded` for too many, `.deviceDefinedMultipleTimes` for the same identity twice
    public func apply(_ items: [BulkItem], twins: Twins? = nil) async throws -> [BulkOutcome] {
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
        var outcomes = [BulkOutcome](repeating: BulkOutcome(), count: items.count)
        var prepared: [(item: Int, work: Prepared)] = []
        for (index, item) in items.enumerated() {
            do {
                let existing = try await self.store.identity(item.draft.id)
                prepared.append((index, try self.prepare(item, existing: existing, twins)))
            } catch let error as HubError where !error.code.isTransient {
                outcomes[index].error = error
            }
        }
        let steps = prepared.map(\.work.step)
        let done = steps.isEmpty ? [] : try await self.carryOut(steps, twins)
        for ((index, work), result) in zip(prepared, done) {
            switch result {
            case .success(let outcome):
                self.revoke(before: outcome.before, after: work.after)
                outcomes[index].twinError = outcome.twinError
            case .failure(let error) where Self.isOvertaken(items[index], by: error):
                outcomes[index] = await self.outcome(of: items[index], twins)
            case .failure(let error):
                outcomes[index].error = error
            }
        }
        return outcomes
    }

    private func outcome(of item: BulkItem, _ twins: Twins?) async -> BulkOutcome {
        do {
            return BulkOutcome(twinError: try await self.write(item, checksScopes: false, twins).twinError)
        } catch let error as HubError {
            return BulkOutcome(error: error)
        } catch {
            return BulkOutcome(error: HubError(.internalError, "The item could not be carried out."))
        }
    }

    /// Has the store carry out steps, and tells of the twins that they changed in the order of commits.
    func carryOut(
        _ steps: [IdentityStep],
        _ twins: Twins?
    ) async throws -> [Result<IdentityOutcome, HubError>] {
        try await withCheckedThrowingContinuation { continuation in
            self.store.submit(steps) { answer in
                if case .success(let outcomes) = answer {
                    for case (let step, .success(let outcome)) in zip(steps, outcomes) {
                        guard let part = step.twin, case .success(let commit)? = outcome.twin else { continue }
                        twins?.tell(of: part, commit)
                    }
                }
                continuation.resume(with: answer)
            }
        }
    }
}

extension IdentityOutcome {
    /// Why the twin's part was refused.
    var twinError: HubError? {
        if case .failure(let error)? = self.twin { return error }
        return nil
    }
}
