// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import Crypto
import FoundationEssentials
import GRDB
import HubModel

/// Encrypts the keys of identities and policies, so that whoever gets hold of the database file alone has none of them
/// (docs/storage-format.md#keys).
///
/// Without a master key, as in tests, they stand as they are; so do those that an older program wrote, until the first
/// opening with one.
struct KeySeal: Sendable {
    private let masterKey: SymmetricKey?

    private static let mark = "sealed:1:"

    /// A seal with a key of 32 bytes, or none.
    init(masterKey: [UInt8]?) {
        self.masterKey = masterKey.map { SymmetricKey(data: $0) }
    }

    /// The identity as it is stored.
    func sealed(_ identity: RegisteredIdentity) throws -> RegisteredIdentity {
        guard self.masterKey != nil else { return identity }
        var identity = identity
        let place = Self.place(identity.id)
        identity.symmetricKeys.primary = try identity.symmetricKeys.primary.map { try self.seal($0, "\(place)/1") }
        identity.symmetricKeys.secondary = try identity.symmetricKeys.secondary.map { try self.seal($0, "\(place)/2") }
        return identity
    }

    /// The identity as it was before it was stored.
    func opened(_ identity: RegisteredIdentity) throws -> RegisteredIdentity {
        var identity = identity
        let place = Self.place(identity.id)
        identity.symmetricKeys.primary = try identity.symmetricKeys.primary.map { try self.open($0, "\(place)/1") }
        identity.symmetricKeys.secondary = try identity.symmetricKeys.secondary.map { try self.open($0, "\(place)/2") }
        return identity
    }

    /// The policy as it is stored.
    func sealed(_ policy: SharedAccessPolicy) throws -> SharedAccessPolicy {
        SharedAccessPolicy(
            name: policy.name,
            primaryKey: try self.seal(policy.primaryKey, "policies/\(policy.name)/1"),
            secondaryKey: try self.seal(policy.secondaryKey, "policies/\(policy.name)/2"),
            rights: policy.rights
        )
    }

    /// The policy as it was before it was stored.
    func opened(_ policy: SharedAccessPolicy) throws -> SharedAccessPolicy {
        SharedAccessPolicy(
            name: policy.name,
            primaryKey: try self.open(policy.primaryKey, "policies/\(policy.name)/1"),
            secondaryKey: try self.open(policy.secondaryKey, "policies/\(policy.name)/2"),
            rights: policy.rights
        )
    }

    /// Checks that what is sealed can be opened, and seals what an older program left as it is.
    func sealAll(in database: Database) throws {
        // A tool that only copies the database needs no master key.
        guard self.masterKey != nil else { return }
        let policies = try Self.policies(in: database)
        for policy in policies { _ = try self.opened(policy) }
        for policy in policies where !policy.primaryKey.hasPrefix(Self.mark) {
            let sealed = try self.sealed(policy)
            try database.execute(
                sql: "UPDATE policies SET primaryKey = ?, secondaryKey = ? WHERE name = ?",
                arguments: [sealed.primaryKey, sealed.secondaryKey, sealed.name]
            )
        }
        let rows = try Row.fetchCursor(
            database,
            sql: "SELECT device, module FROM identities WHERE primaryKey IS NOT NULL AND primaryKey NOT LIKE ?",
            arguments: ["\(Self.mark)%"]
        )
        var clear: [IdentityID] = []
        while let row = try rows.next() {
            let module: String = row[1]
            clear.append(IdentityID(device: row[0], module: module.isEmpty ? nil : module))
        }
        for id in clear {
            guard let identity = try IdentityRows.identity(id, in: database) else { continue }
            try IdentityRows.put(try self.sealed(identity), in: database)
        }
    }

    /// The policies as they are stored, ordered by name.
    static func policies(in database: Database) throws -> [SharedAccessPolicy] {
        try Row.fetchAll(database, sql: "SELECT name, primaryKey, secondaryKey, rights FROM policies ORDER BY name").map
        { row in
            SharedAccessPolicy(
                name: row[0],
                primaryKey: row[1],
                secondaryKey: row[2],
                rights: AccessRights(rawValue: row[3])
            )
        }
    }

    private static func place(_ id: IdentityID) -> String { "identities/\(id)" }

    /// Encrypts a key; `place` is authenticated, so that a key moved to another row does not open there.
    private func seal(_ text: String, _ place: String) throws -> String {
        guard let masterKey else { return text }
        let box = try AES.GCM.seal(Data(text.utf8), using: masterKey, authenticating: Data(place.utf8))
        guard let combined = box.combined else {
            throw HubError(.internalError, "A key could not be encrypted.")
        }
        return Self.mark + Base64.encode(combined)
    }

    private func open(_ text: String, _ place: String) throws -> String {
        guard text.hasPrefix(Self.mark) else { return text }
        guard let masterKey else { throw Self.unopened }
        guard let combined = Base64.decode(String(text.dropFirst(Self.mark.count))) else { throw Self.unopened }
        do {
            let box = try AES.GCM.SealedBox(combined: combined)
            let bytes = try AES.GCM.open(box, using: masterKey, authenticating: Data(place.utf8))
            return String(decoding: bytes, as: UTF8.self)
        } catch {
            throw Self.unopened
        }
    }

    private static let unopened = HubError(
        .storageCorrupt,
        "The keys in the state database can't be decrypted: the file state.key beside it is missing or another one's."
    )
}
