// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

public import HubModel
import Synchronization

/// A clock that stands still until it is told to go on.
public final class TestClock: Sendable {
    private let now: Atomic<Int64>

    /// Makes a clock that stands at a time.
    ///
    /// - Parameter milliseconds: since 1970; by default a time with a fraction of a second.
    public init(milliseconds: Int64 = 1_709_287_200_123) {
        self.now = Atomic(milliseconds)
    }

    /// The time.
    public var milliseconds: Int64 { self.now.load(ordering: .relaxed) }

    /// The time as the hub asks for it.
    public var clock: HubClock { HubClock { self.milliseconds } }

    /// Lets time pass.
    public func advance(seconds: Int64) {
        self.now.wrappingAdd(seconds * 1000, ordering: .relaxed)
    }
}
