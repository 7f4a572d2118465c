// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

public import HubModel
import Synchronization

/// The shared access policies as they are now; read on every sign-in, replaced as a whole.
public final class PolicyTable: Sendable {
    struct Entry: Sendable {
        let policy: SharedAccessPolicy
        let hubKeys: SigningKeys
        let eventHubsKeys: SigningKeys
        /// The replacement that this entry is of.
        let change: UInt64
        /// The replacement that last changed each key, by slot.
        let primaryChange: UInt64
        let secondaryChange: UInt64
        /// The replacement that last took a right away.
        let rightsChange: UInt64

        /// Whether a key and the rights are what they were at a replacement, and were so ever since.
        func isUnchanged(_ slot: KeySlot, since change: UInt64) -> Bool {
            let keyChange = slot == .primary ? self.primaryChange : self.secondaryChange
            return keyChange <= change && self.rightsChange <= change
        }
    }

    struct Snapshot: Sendable {
        var entries: [String: Entry] = [:]
        /// Counts replacements.
        var change: UInt64 = 0
    }

    private let state = Mutex(Snapshot())
    private let allowsSampleKeys: Bool

    /// Makes a table with its first policies.
    public init(_ policies: [SharedAccessPolicy], allowsSampleKeys: Bool = false) {
        self.allowsSampleKeys = allowsSampleKeys
        self.replace(with: policies)
    }

    /// Puts other policies in the place of those there are.
    public func replace(with policies: [SharedAccessPolicy]) {
        self.state.withLock { state in
            let change = state.change + 1
            var entries: [String: Entry] = [:]
            for policy in policies {
                let old = state.entries[policy.name]
                let keys = CredentialPair(primary: policy.primaryKey, secondary: policy.secondaryKey)
                let isPrimaryKept = old?.policy.primaryKey == policy.primaryKey
                let isSecondaryKept = old?.policy.secondaryKey == policy.secondaryKey
                let areRightsKept = old.map { $0.policy.rights.isSubset(of: policy.rights) } ?? false
                entries[policy.name] = Entry(
                    policy: policy,
                    hubKeys: SigningKeys(keys, dialect: .hub, allowsSampleKeys: self.allowsSampleKeys),
                    eventHubsKeys: SigningKeys(keys, dialect: .eventHubs, allowsSampleKeys: self.allowsSampleKeys),
                    change: change,
                    primaryChange: isPrimaryKept ? old?.primaryChange ?? change : change,
                    secondaryChange: isSecondaryKept ? old?.secondaryChange ?? change : change,
                    rightsChange: areRightsKept ? old?.rightsChange ?? change : change
                )
            }
            state = Snapshot(entries: entries, change: change)
        }
    }

    /// The policies there are, ordered by name.
    public var policies: [SharedAccessPolicy] {
        self.snapshot.entries.values.map(\.policy).sorted { $0.name < $1.name }
    }

    var snapshot: Snapshot { self.state.withLock { $0 } }

    func entry(_ name: String) -> Entry? { self.state.withLock { $0.entries[name] } }
}
