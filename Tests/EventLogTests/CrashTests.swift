// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import EventLog
import Glibc
import HubTesting
import Testing

@Suite struct CrashTests {
    /// 40 rounds of 10 histories with 25 crashes each: 10,000 crashes.
    @Test(arguments: 0..<40)
    func `what was acknowledged survives ten thousand crashes`(round: Int) {
        var acknowledged = 0
        // One failing seed can be run alone.
        let only = getenv("ROOST_CRASH_SEED").flatMap { UInt64(String(cString: $0)) }
        for seed in UInt64(round * 10)..<UInt64(round * 10 + 10) where only == nil || only == seed {
            let history = CrashHistory(seed: seed)
            do {
                try history.run(crashes: 25)
            } catch {
                Issue.record("seed \(seed), crash \(history.crashes): \(error)")
                return
            }
            acknowledged += history.acknowledged
        }
        #expect(acknowledged > 500 || only != nil)
    }

    @Test func `a disk whose sync does nothing is caught`() {
        var faults = FakeDisk.Faults()
        faults.ignoresSync = true
        #expect(caught(faults) > 10)
    }

    @Test func `a disk whose directory sync does nothing is caught`() {
        var faults = FakeDisk.Faults()
        faults.ignoresDirectorySync = true
        #expect(caught(faults) > 10)
    }

    /// How many of 20 histories notice.
    private func caught(_ faults: FakeDisk.Faults) -> Int {
        (0..<20).count { seed in
            do {
                try CrashHistory(seed: UInt64(seed), faults: faults).run(crashes: 25)
                return false
            } catch {
                return true
            }
        }
    }
}
