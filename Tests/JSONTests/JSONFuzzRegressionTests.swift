// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import FoundationEssentials
import Testing

/// Replays every input that a fuzzer ever found fault with.
@Suite struct JSONFuzzRegressionTests {
    @Test func `texts that are hard to parse do no harm`() throws {
        let folder = URL(filePath: #filePath).deletingLastPathComponent()
            .appending(path: "../../Fuzz/Regressions/json").standardized
        let names = try FileManager.default.contentsOfDirectory(atPath: folder.path())
        #expect(!names.isEmpty)
        for name in names {
            exerciseJSON([UInt8](try Data(contentsOf: folder.appending(path: name))))
        }
    }
}
