// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import GRDB
import HubModel

/// Carries out steps on identities within a transaction.
struct IdentityWriter {
    let limits: Limits
    let seal: KeySeal

    /// Carries out a step, or says why its write is refused.
    func apply(_ step: IdentityStep, in database: Database) throws -> Result<IdentityOutcome, HubError> {
        let before: RegisteredIdentity?
        switch try self.apply(step.write, in: database) {
        case .success(let found): before = found
        case .failure(let error): return .failure(error)
        }
        for companion in step.companions { _ = try self.apply(companion, in: database) }
        let twin = try step.twin.map { try self.apply($0, in: database) }
        return .success(IdentityOutcome(before: before, twin: twin))
    }

    /// Carries out the twin's part; a refusal is an answer, and only what the database suffers fails the whole.
    private func apply(_ step: TwinStep, in database: Database) throws -> Result<TwinCommit, HubError> {
        var outcome: Result<TwinCommit, HubError>?
        try database.inSavepoint {
            do {
                outcome = .success(try EmbeddedTwinStore.apply(step, limits: self.limits.twins, in: database))
                return .commit
            } catch let error as HubError {
                outcome = .failure(error)
                return .rollback
            }
        }
        return outcome ?? .failure(HubError(.internalError, "A twin's part of a step did not run."))
    }

    /// Applies a write, or says why its condition does not hold.
    private func apply(_ write: IdentityWrite, in database: Database) throws -> Result<RegisteredIdentity?, HubError> {
        switch write {
        case .put(let identity, let condition):
            let before = try IdentityRows.identity(identity.id, in: database).map(self.seal.opened)
            if let error = try self.refusal(identity.id, condition, before, in: database) { return .failure(error) }
            if before == nil, let error = try self.roomRefusal(for: identity.id, in: database) {
                return .failure(error)
            }
            try IdentityRows.put(try self.seal.sealed(identity), in: database)
            return .success(before)
        case .delete(let id, let condition):
            let before = try IdentityRows.identity(id, in: database).map(self.seal.opened)
            if let error = try self.refusal(id, condition, before, in: database) { return .failure(error) }
            try IdentityRows.remove(id, in: database)
            return .success(before)
        }
    }

    private func refusal(
        _ id: IdentityID,
        _ condition: WriteCondition,
        _ before: RegisteredIdentity?,
        in database: Database
    ) throws -> HubError? {
        switch (condition, before) {
        case (.always, _), (.absent, nil), (.present, .some): return nil
        case (.absent, .some): return self.alreadyExists(id)
        case (.present, nil), (.matches, nil):
            let device = IdentityID(device: id.device)
            return self.notFound(try IdentityRows.exists(device, in: database) ? id : device)
        case (.matches(let etag), .some(let before)):
            return before.etag == etag ? nil : HubError(.preconditionFailed, "The entity tag is not the current one.")
        }
    }

    private func roomRefusal(for id: IdentityID, in database: Database) throws -> HubError? {
        guard id.module != nil else {
            let total = try IdentityRows.deviceCounts(in: database).total
            guard total >= self.limits.devicesMax else { return nil }
            return HubError(.quotaExceeded, "The hub holds \(total) devices, which is as many as it may.")
        }
        let device = IdentityID(device: id.device)
        guard try IdentityRows.exists(device, in: database) else { return self.notFound(device) }
        let count = try IdentityRows.moduleCount(of: id.device, in: database)
        guard count >= self.limits.modulesPerDeviceMax else { return nil }
        return HubError(.tooManyModules, "The device '\(id.device)' has \(count) modules, which is as many as it may.")
    }

    private func notFound(_ id: IdentityID) -> HubError {
        guard let module = id.module else {
            return HubError(.deviceNotFound, "The device with ID '\(id.device)' was not found.")
        }
        return HubError(.moduleNotFound, "The module with ID '\(module)' of device '\(id.device)' was not found.")
    }

    private func alreadyExists(_ id: IdentityID) -> HubError {
        guard let module = id.module else {
            return HubError(.deviceAlreadyExists, "A device with ID '\(id.device)' is already registered.")
        }
        return HubError(
            .moduleAlreadyExists,
            "A module with ID '\(module)' is already registered on device '\(id.device)'."
        )
    }
}

extension IdentityStep {
    /// Whether it may store something that was not there.
    var makesNew: Bool { self.write.makesNew || self.twin != nil || self.companions.contains(where: \.makesNew) }
}

extension IdentityWrite {
    /// Whether it may add an identity; a change of one that is there, such as to disable it, must be possible always.
    var makesNew: Bool {
        switch self {
        case .put(_, let condition): condition.makesNew
        case .delete: false
        }
    }
}

extension WriteCondition {
    /// Whether it lets something be stored that was not there.
    var makesNew: Bool {
        switch self {
        case .absent, .always: true
        case .present, .matches: false
        }
    }
}
