// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

public import HubModel
import Synchronization

/// Which identities are in a fault that they asked for; safe to use from any thread.
///
/// It outlives their connections: an identity whose connection was cut stays in the fault when it connects again.
public final class FaultBoard: Sendable {
    private struct Entry {
        var kind: FaultKind
        var milliseconds: Range<Int64>
    }

    /// The bounds of what may be asked for.
    public let limits: FaultLimits
    private let entries = Mutex<[IdentityID: Entry]>([:])

    /// Makes an empty board.
    public init(limits: FaultLimits) {
        self.limits = limits
    }

    /// Notes that an identity asked for a fault, which replaces one that it asked for earlier.
    public func request(_ plan: FaultPlan, for id: IdentityID, nowMilliseconds now: Int64) {
        let begin = now + plan.delayMilliseconds
        let entry = Entry(kind: plan.kind, milliseconds: begin..<begin + plan.durationMilliseconds)
        self.entries.withLock { entries in
            if entries.count >= self.limits.identitiesMax {
                entries = entries.filter { $0.value.milliseconds.upperBound > now }
            }
            guard entries.count < self.limits.identitiesMax || entries[id] != nil else { return }
            entries[id] = entry
        }
    }

    /// The fault that an identity is in, nil for none.
    public func fault(of id: IdentityID, nowMilliseconds now: Int64) -> FaultKind? {
        self.entries.withLock { entries in
            guard let entry = entries[id] else { return nil }
            if now >= entry.milliseconds.upperBound { entries[id] = nil }
            return entry.milliseconds.contains(now) ? entry.kind : nil
        }
    }
}
