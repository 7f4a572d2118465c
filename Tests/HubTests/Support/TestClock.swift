// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import HubModel
import Synchronization

/// A clock that stands still until it is told to go on.
final class TestClock: Sendable {
    private let now = Atomic<Int64>(1_709_287_200_123)

    var milliseconds: Int64 { self.now.load(ordering: .relaxed) }

    var clock: HubClock { HubClock { self.milliseconds } }

    func advance(seconds: Int64) {
        self.now.wrappingAdd(seconds * 1000, ordering: .relaxed)
    }
}
