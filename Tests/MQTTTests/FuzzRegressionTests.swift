// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import FoundationEssentials
import Testing

/// Replays every input that a fuzzer ever found fault with.
@Suite struct FuzzRegressionTests {
    @Test func `inputs that once broke the decoder do no harm`() throws {
        let folder = URL(filePath: #filePath).deletingLastPathComponent()
            .appending(path: "../../Fuzz/Regressions/mqtt").standardized
        let names = try FileManager.default.contentsOfDirectory(atPath: folder.path())
        #expect(!names.isEmpty)
        for name in names {
            exerciseMQTT([UInt8](try Data(contentsOf: folder.appending(path: name))))
        }
    }
}
