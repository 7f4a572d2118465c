// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

public import HubModel
import Synchronization

/// Knows which identity is connected, and by which connection.
///
/// Any identity has at most one connection, whatever its protocol: a newer one takes over. The directory is split into
/// shards by device id (so a device and its modules share one), each under its own short lock, and calls nothing while
/// it holds one.
public final class Directory: Sendable {
    /// Proves that nothing was revoked between the begin of a sign-in and its registration.
    public struct SignInTicket: Sendable {
        fileprivate let revocations: UInt64
    }

    /// What became of a registration.
    public enum Registration: Sendable {
        /// The connection is the identity's own now; the number tells it from later ones.
        case registered(connectionNumber: UInt64)
        /// Something was revoked meanwhile: authenticate again.
        case stale
    }

    /// What a connection wants to be handed.
    public struct Interests: OptionSet, Sendable, Hashable {
        /// The bits.
        public let rawValue: UInt8

        /// Makes a set of bits.
        public init(rawValue: UInt8) {
            self.rawValue = rawValue
        }

        /// Changes of the identity's desired properties.
        public static let desired = Interests(rawValue: 1)
        /// Calls of its methods.
        public static let methods = Interests(rawValue: 2)
        /// Word of commands that wait for it.
        public static let commands = Interests(rawValue: 4)
    }

    fileprivate struct Entry {
        var link: DeviceLink
        var identity: AuthenticatedIdentity
        var number: UInt64
        var interests: Interests = []
    }

    /// What is known of an identity that is connected, or whose last connection is not stored yet.
    struct Known {
        var generationID: String
        var presence: Presence
        /// The activity that the store knows of.
        var storedActivity: Int64 = 0
    }

    struct State {
        fileprivate var entries: [IdentityID: Entry] = [:]
        var known: [IdentityID: Known] = [:]
        /// Whose connections changed since that was last stored.
        var unstored: Set<IdentityID> = []
        fileprivate var revocations: UInt64 = 0

        /// What is known, as it is now.
        func presence(of id: IdentityID) -> Presence? {
            guard var presence = self.known[id]?.presence else { return nil }
            if let entry = self.entries[id] {
                let activity = entry.link.lastActivityMilliseconds.load(ordering: .relaxed)
                presence.lastActivityMilliseconds = max(presence.lastActivityMilliseconds, activity)
                presence.modelID = entry.identity.modelID
            }
            return presence
        }

        /// Whether the identity has a connection.
        func isConnected(_ id: IdentityID) -> Bool { self.entries[id] != nil }
    }

    final class Shard: Sendable {
        let state = Mutex(State())
    }

    private static let shardCount = 64

    let shards: [Shard]
    private let lastNumber = Atomic<UInt64>(0)
    private let clock: HubClock

    /// Makes an empty directory.
    public init(clock: HubClock) {
        self.clock = clock
        shards = (0..<Self.shardCount).map { _ in Shard() }
    }

    /// Begins a sign-in; call this before reading the identity from the store.
    public func beginSignIn(_ id: IdentityID) -> SignInTicket {
        SignInTicket(revocations: shard(id).state.withLock { $0.revocations })
    }

    /// Makes a connection the identity's own, and ends the one it had.
    public func register(_ identity: AuthenticatedIdentity, link: DeviceLink, ticket: SignInTicket) -> Registration {
        let number = lastNumber.wrappingAdd(1, ordering: .relaxed).newValue
        let now = clock.milliseconds
        let outcome = shard(identity.id).state.withLock { state -> (Registration, DeviceLink?) in
            guard state.revocations == ticket.revocations else { return (.stale, nil) }
            let older = state.entries.updateValue(
                Entry(link: link, identity: identity, number: number),
                forKey: identity.id
            )
            link.lastActivityMilliseconds.store(now, ordering: .relaxed)
            state.unstored.insert(identity.id)
            // A deleted identity's last connection may still be there when the identity is made anew.
            if older == nil || state.known[identity.id] == nil {
                state.known[identity.id] = Known(
                    generationID: identity.generationID,
                    presence: Presence(isConnected: true, changedMilliseconds: now, lastActivityMilliseconds: now)
                )
            }
            return (.registered(connectionNumber: number), older?.link)
        }
        outcome.1?.deliver(.disconnect(.takenOver))
        return outcome.0
    }

    /// Puts a newer proof in the place of the one that a connection rests on.
    ///
    /// Returns false where the connection is no longer the identity's own, or something was revoked since the ticket.
    public func renew(_ identity: AuthenticatedIdentity, connectionNumber: UInt64, ticket: SignInTicket) -> Bool {
        shard(identity.id).state.withLock { state in
            guard state.revocations == ticket.revocations, state.entries[identity.id]?.number == connectionNumber else {
                return false
            }
            state.entries[identity.id]?.identity = identity
            return true
        }
    }

    /// Notes the plug-and-play model that a connection announced after it had signed in.
    public func setModelID(_ modelID: String, of id: IdentityID, connectionNumber: UInt64) {
        shard(id).state.withLock { state in
            guard state.entries[id]?.number == connectionNumber else { return }
            state.entries[id]?.identity.modelID = modelID
        }
    }

    /// Forgets a connection that ended; does nothing where a newer one has taken over.
    public func remove(_ id: IdentityID, connectionNumber: UInt64) {
        let now = clock.milliseconds
        shard(id).state.withLock { state in
            guard state.entries[id]?.number == connectionNumber else { return }
            let last = state.presence(of: id)
            state.entries[id] = nil
            // Nothing is known where the identity was deleted meanwhile.
            guard var presence = last else { return }
            presence.isConnected = false
            presence.changedMilliseconds = now
            state.known[id]?.presence = presence
            state.unstored.insert(id)
        }
    }

    /// The connection of an identity, nil where it has none on this node.
    public func link(of id: IdentityID) -> DeviceLink? {
        shard(id).state.withLock { $0.entries[id]?.link }
    }

    /// The connection of an identity, if it wants to be handed such things, and its number.
    public func link(of id: IdentityID, wanting interest: Interests) -> (link: DeviceLink, connectionNumber: UInt64)? {
        shard(id).state.withLock { state in
            state.entries[id].flatMap { $0.interests.isSuperset(of: interest) ? ($0.link, $0.number) : nil }
        }
    }

    /// Notes whether a connection wants to be handed such things; at first it wants nothing.
    public func setInterest(_ interest: Interests, _ wants: Bool, of id: IdentityID, connectionNumber: UInt64) {
        shard(id).state.withLock { state in
            guard state.entries[id]?.number == connectionNumber else { return }
            if wants {
                state.entries[id]?.interests.formUnion(interest)
            } else {
                state.entries[id]?.interests.subtract(interest)
            }
        }
    }

    /// What is known here of an identity's connection: nil where it is not connected and what was known is stored.
    public func presence(of id: IdentityID) -> Presence? {
        shard(id).state.withLock { $0.presence(of: id) }
    }

    /// How many devices are connected to this node; their modules do not count.
    public var connectedDeviceCount: Int {
        shards.reduce(0) { sum, shard in
            sum + shard.state.withLock { $0.entries.keys.count { $0.module == nil } }
        }
    }

    /// How many identities are connected to this node.
    public var connectedCount: Int {
        shards.reduce(0) { $0 + $1.state.withLock { $0.entries.count } }
    }

    /// Ends the connections that a revocation concerns: the identity's own and, of a whole device, those of its modules.
    ///
    /// Connections that rest on one of the `keeping` slots of the identity's own credentials stay.
    public func revoke(_ id: IdentityID, keeping: [KeySlot]) {
        revoke(id, keeping: keeping, as: .revoked)
    }

    private func revoke(_ id: IdentityID, keeping: [KeySlot], as reason: DisconnectReason) {
        end(reason, in: [shard(id)]) { identity in
            // Where a key stays, only keys were changed: modules have keys of their own.
            let isModuleOfIt = keeping.isEmpty && id.module == nil && identity.id.device == id.device
            guard identity.id == id || isModuleOfIt else { return false }
            switch identity.proof {
            case .identityKey(let slot), .thumbprint(let slot): return !keeping.contains(slot)
            case .policyKey, .certificateAuthority: return keeping.isEmpty
            }
        }
    }

    /// Ends the connections of a deleted identity, those of a device's modules too, and forgets that there were any.
    public func forget(_ id: IdentityID) {
        shard(id).state.withLock { state in
            state.known[id] = nil
            guard id.module == nil else { return }
            for other in state.known.keys.filter({ $0.device == id.device }) { state.known[other] = nil }
        }
        revoke(id, keeping: [], as: .deleted)
    }

    /// Ends every connection that rests on a policy key which `isStillGood` does not vouch for.
    public func recheckPolicies(isStillGood: (_ policy: String, KeySlot, _ since: UInt64) -> Bool) {
        end(.revoked, in: shards) { identity in
            guard case .policyKey(let policy, let slot) = identity.proof else { return false }
            return !isStillGood(policy, slot, identity.policyChange)
        }
    }

    /// Ends every connection that rests on a certificate authority which `isStillGood` does not vouch for.
    public func recheckAuthorities(isStillGood: (_ thumbprint: String) -> Bool) {
        end(.revoked, in: shards) { identity in
            guard case .certificateAuthority(let thumbprint) = identity.proof else { return false }
            return !isStillGood(thumbprint)
        }
    }

    private func end(
        _ reason: DisconnectReason,
        in shards: [Shard],
        where concerns: (AuthenticatedIdentity) -> Bool
    ) {
        for shard in shards {
            let links = shard.state.withLock { state in
                state.revocations &+= 1
                return state.entries.values.filter { concerns($0.identity) }.map(\.link)
            }
            for link in links {
                link.deliver(.disconnect(reason))
            }
        }
    }

    func shard(_ id: IdentityID) -> Shard {
        shards[Int(UInt(bitPattern: id.device.hashValue) % UInt(Self.shardCount))]
    }
}
