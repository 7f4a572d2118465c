// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

public import HubModel
import Synchronization

/// Which version of a resource a caller means to change.
public enum IfMatch: Sendable, Hashable {
    /// Any version of one that exists.
    case any
    /// One of these versions.
    case etags([String])

    /// Reads an `If-Match` header as all clients spell it: quoted, bare, weak, several; nil where there is none.
    public init?(header: String?) {
        guard let header, !header.isEmpty else { return nil }
        let tags = header.split(separator: ",").map { part -> String in
            var text = part.drop { $0 == " " }
            while text.last == " " { text.removeLast() }
            if text.hasPrefix("W/") { text = text.dropFirst(2) }
            if text.utf8.count >= 2, text.first == "\"", text.last == "\"" { text = text.dropFirst().dropLast() }
            return String(text)
        }
        self = tags.contains("*") ? .any : .etags(tags)
    }
}

/// The registry of devices and modules, and of the shared access policies.
///
/// What returned is durable, and the connections that it shuts out are being closed.
public final class Registry: Sendable {
    let store: any IdentityStore
    let limits: Limits
    private let bus: any HubBus
    private let policyTable: PolicyTable
    private let clock: HubClock
    private let rules: IdentityRules
    private let lastGeneration = Atomic<Int64>(0)

    /// How often a change is tried anew where another one of the same identity came in between.
    static let attemptsMax = 5

    /// Makes a registry on a store.
    public init(
        identities: any IdentityStore,
        bus: any HubBus,
        policies: PolicyTable,
        settings: AuthenticationSettings,
        limits: Limits,
        clock: HubClock
    ) {
        self.store = identities
        self.bus = bus
        self.policyTable = policies
        self.limits = limits
        self.clock = clock
        self.rules = IdentityRules(allowsSampleKeys: settings.allowsSampleKeys)
    }

    /// Returns an identity.
    ///
    /// - Throws: `.argumentInvalid` for an illegal id, `.deviceNotFound`, `.moduleNotFound`
    public func identity(_ id: IdentityID) async throws -> RegisteredIdentity {
        guard IdentityID.isLegal(id.device), id.module.map({ IdentityID.isLegal($0) }) ?? true else {
            throw HubError(.argumentInvalid, "The ID holds characters that are not allowed, or is too long.")
        }
        if let identity = try await self.store.identity(id) { return identity }
        throw try await self.notFound(id)
    }

    /// Creates an identity, or with `ifMatch` replaces what callers may set of one.
    ///
    /// - Throws: `.argumentInvalid`, `.deviceAlreadyExists`, `.deviceNotFound`, `.preconditionFailed`, `.quotaExceeded`,
    ///   their like for modules, and `.systemModule`
    public func put(_ draft: IdentityDraft, ifMatch: IfMatch?) async throws -> RegisteredIdentity {
        let mode: BulkMode = ifMatch == nil ? .create : .update
        let item = BulkItem(draft: draft, mode: mode, ifMatch: ifMatch)
        guard let identity = try await self.write(item, checksScopes: true).identity else {
            throw HubError(.internalError, "The identity was stored and is not there.")
        }
        return identity
    }

    /// Deletes an identity, and with a device its modules.
    ///
    /// - Throws: `.deviceNotFound`, `.moduleNotFound`, `.preconditionFailed`
    public func delete(_ id: IdentityID, ifMatch: IfMatch?) async throws {
        guard IdentityID.isLegal(id.device), id.module.map({ IdentityID.isLegal($0) }) ?? true else {
            throw HubError(.argumentInvalid, "The ID holds characters that are not allowed, or is too long.")
        }
        _ = try await self.write(
            BulkItem(draft: IdentityDraft(id: id), mode: .delete, ifMatch: ifMatch),
            checksScopes: false
        )
    }

    /// Lists devices ordered by id.
    ///
    /// - Throws: `.argumentInvalid` where `top` is not 1 to the page limit
    public func devices(top: Int?) async throws -> [RegisteredIdentity] {
        let limit = top ?? self.limits.deviceListPageMax
        guard (1...self.limits.deviceListPageMax).contains(limit) else {
            throw HubError(.argumentInvalid, "top is a number from 1 to \(self.limits.deviceListPageMax).")
        }
        return try await self.store.devices(after: nil, limit: limit)
    }

    /// Lists the modules of a device ordered by id.
    ///
    /// - Throws: `.argumentInvalid` for an illegal id, `.deviceNotFound`
    public func modules(of device: String) async throws -> [RegisteredIdentity] {
        let modules = try await self.store.modules(of: device)
        // Most answers need no second read: where there is a module there is its device.
        if modules.isEmpty { _ = try await self.identity(IdentityID(device: device)) }
        return modules
    }

    /// Counts devices: all of them, and those that are enabled.
    public func deviceCounts() async throws -> (total: Int, enabled: Int) {
        try await self.store.deviceCounts()
    }

    /// Puts other shared access policies in force, at once and for live connections too.
    ///
    /// - Throws: `.argumentInvalid` for a key that is none; what the store throws
    public func setPolicies(_ policies: [SharedAccessPolicy]) async throws {
        for key in policies.flatMap({ [$0.primaryKey, $0.secondaryKey] }) {
            guard let bytes = Base64.decode(key), IdentityRules.keyBytes.contains(bytes.count) else {
                throw HubError(.argumentInvalid, "A policy's key is the base64 text of 16 to 64 bytes.")
            }
        }
        try await self.store.setPolicies(policies)
        self.policyTable.replace(with: policies)
        self.bus.broadcast(.policiesChanged)
    }

    /// The policies that a new hub has, with keys that nobody knows yet.
    public static func newPolicies() -> [SharedAccessPolicy] {
        let rights: [(String, AccessRights)] = [
            ("iothubowner", [.registryRead, .registryWrite, .serviceConnect, .deviceConnect]),
            ("service", .serviceConnect),
            ("device", .deviceConnect),
            ("registryRead", .registryRead),
            ("registryReadWrite", [.registryRead, .registryWrite]),
        ]
        return rights.map { name, rights in
            SharedAccessPolicy(
                name: name,
                primaryKey: IdentityRules.newKey(),
                secondaryKey: IdentityRules.newKey(),
                rights: rights
            )
        }
    }

    // MARK: One write

    /// Carries out one item, anew where another change came in between and the item does not care.
    ///
    /// Returns the document as it then is, nil for a removal, and why its twin did not follow.
    func write(
        _ item: BulkItem,
        checksScopes: Bool,
        _ twins: Twins? = nil
    ) async throws -> (identity: RegisteredIdentity?, twinError: HubError?) {
        for _ in 1...Self.attemptsMax {
            let existing = try await self.store.identity(item.draft.id)
            if checksScopes { try await self.checkScopes(item.draft, existing: existing) }
            let prepared = try self.prepare(item, existing: existing, twins)
            guard let result = try await self.carryOut([prepared.step], twins).first else { break }
            switch result {
            case .success(let outcome):
                self.revoke(before: outcome.before, after: prepared.after)
                return (prepared.after, outcome.twinError)
            case .failure(let error) where Self.isOvertaken(item, by: error): continue
            case .failure(let error): throw error
            }
        }
        throw HubError(.throttled, "Too many changes of one identity at the same time; try again.")
    }

    /// Whether a write failed only because another change came in between that the item does not care about.
    static func isOvertaken(_ item: BulkItem, by error: HubError) -> Bool {
        if case .etags? = item.ifMatch { return false }
        switch error.code {
        case .preconditionFailed: return true
        case .deviceAlreadyExists, .moduleAlreadyExists, .moduleNotFound:
            return item.mode == .createOrUpdate && item.ifMatch == nil
        // To a module it says that there is no device to make it on.
        case .deviceNotFound: return item.mode == .createOrUpdate && item.ifMatch == nil && item.draft.id.module == nil
        default: return false
        }
    }

    struct Prepared {
        var step: IdentityStep
        var after: RegisteredIdentity?
    }

    /// Turns an item into a step that holds only while the identity is as it was read.
    func prepare(_ item: BulkItem, existing: RegisteredIdentity?, _ twins: Twins?) throws -> Prepared {
        if let module = item.draft.id.module, IdentityRules.systemModules.contains(module) {
            throw HubError(.systemModule, "The module '\(module)' belongs to the edge runtime.")
        }
        if case .etags(let tags)? = item.ifMatch, let existing, !tags.contains(existing.etag) {
            throw HubError(.preconditionFailed, "The entity tag is not the current one.")
        }
        let condition: WriteCondition
        switch (item.mode, existing) {
        case (.create, _): condition = .absent
        case (.createOrUpdate, nil): condition = .absent
        // No entity tag is empty: one that is made meanwhile is another one, and the item is tried anew.
        case (_, nil): condition = .matches(etag: "")
        case (_, .some(let existing)): condition = .matches(etag: existing.etag)
        }
        if item.mode == .delete {
            return Prepared(step: IdentityStep(.delete(item.draft.id, condition)))
        }
        // A create that finds one is refused by the store, in the same step that would have made it.
        let replaced = item.mode == .create ? nil : existing
        let after = try self.rules.resolve(
            item.draft,
            existing: replaced,
            generationID: self.newGeneration(),
            nowMilliseconds: self.clock.milliseconds
        )
        var step = IdentityStep(.put(after, condition))
        if after.isEdge, after.id.module == nil, replaced?.isEdge != true {
            step.companions = IdentityRules.systemModules.map { .put(self.systemModule($0, of: after), .absent) }
        }
        step.twin = item.twin.flatMap { twins?.step(item.draft.id, $0.change, ifMatch: $0.ifMatch) }
        return Prepared(step: step, after: after)
    }

    /// Closes the connections that a change shuts out.
    func revoke(before: RegisteredIdentity?, after: RegisteredIdentity?) {
        guard let before else { return }
        guard let after else { return self.bus.broadcast(.identityDeleted(before.id)) }
        let isShutOut = after.status == .disabled && before.status == .enabled
        guard !isShutOut, after.authentication == before.authentication else {
            return self.bus.broadcast(.identityRevoked(before.id, keeping: []))
        }
        let isKey = after.authentication == .sas
        let (old, new) = isKey ? (before.symmetricKeys, after.symmetricKeys) : (before.thumbprints, after.thumbprints)
        guard old != new else { return }
        var kept: [KeySlot] = []
        if old.primary == new.primary { kept.append(.primary) }
        if old.secondary == new.secondary { kept.append(.secondary) }
        self.bus.broadcast(.identityRevoked(before.id, keeping: kept))
    }

    private func systemModule(_ name: String, of device: RegisteredIdentity) -> RegisteredIdentity {
        RegisteredIdentity(
            id: IdentityID(device: device.id.device, module: name),
            generationID: self.newGeneration(),
            etag: IdentityRules.newETag(otherThan: nil),
            authentication: .none
        )
    }

    /// A number that no earlier identity has, in the form of 100 ns ticks since the year 1.
    private func newGeneration() -> String {
        let ticks = self.clock.milliseconds * 10_000 + 621_355_968_000_000_000 + Int64.random(in: 0..<10_000)
        var last = self.lastGeneration.load(ordering: .relaxed)
        while true {
            let next = max(ticks, last + 1)
            let (exchanged, current) = self.lastGeneration.compareExchange(
                expected: last,
                desired: next,
                ordering: .relaxed
            )
            if exchanged { return String(next) }
            last = current
        }
    }

    private func notFound(_ id: IdentityID) async throws -> HubError {
        if let module = id.module, try await self.store.identity(IdentityID(device: id.device)) != nil {
            return HubError(.moduleNotFound, "The module with ID '\(module)' of device '\(id.device)' was not found.")
        }
        return HubError(.deviceNotFound, "The device with ID '\(id.device)' was not found.")
    }

    /// Checks that scopes name edge devices that exist, in the generation that they have.
    private func checkScopes(_ draft: IdentityDraft, existing: RegisteredIdentity?) async throws {
        let own = existing?.isEdge == true ? existing?.deviceScope : nil
        let scopes = (draft.isEdge ? [] : [draft.deviceScope].compactMap { $0 }) + draft.parentScopes
        for scope in Set(scopes) where !scope.isEmpty && scope != own {
            guard try await self.isEdgeScope(scope) else {
                throw HubError(.invalidDeviceScope, "The device scope names no edge device of this hub.")
            }
        }
    }

    private func isEdgeScope(_ scope: String) async throws -> Bool {
        guard scope.hasPrefix(IdentityRules.scopePrefix) else { return false }
        let rest = scope.dropFirst(IdentityRules.scopePrefix.count)
        guard let dash = rest.lastIndex(of: "-") else { return false }
        let edge = try await self.store.identity(IdentityID(device: String(rest[..<dash])))
        return edge?.isEdge == true && edge?.deviceScope == scope
    }
}
