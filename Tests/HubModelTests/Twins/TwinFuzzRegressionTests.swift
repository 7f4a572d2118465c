// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import FoundationEssentials
import Testing

/// Replays every input that a fuzzer ever found fault with, and those that look dangerous.
@Suite struct TwinFuzzRegressionTests {
    @Test func `changes that are hard to merge leave a sound twin`() throws {
        let folder = URL(filePath: #filePath).deletingLastPathComponent()
            .appending(path: "../../../Fuzz/Regressions/twin").standardized
        let names = try FileManager.default.contentsOfDirectory(atPath: folder.path())
        #expect(!names.isEmpty)
        for name in names {
            exerciseTwin([UInt8](try Data(contentsOf: folder.appending(path: name))))
        }
    }
}
