// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import Testing

/// What every file of the project keeps to, so that a reader can rely on it.
@Suite struct FileTests {
    private static let linesMax = 800
    private static let header = [
        "Roost, a self-hosted IoT hub.", "Copyright the Roost authors.", "SPDX-License-Identifier: Apache-2.0",
    ]

    @Test func `the tree was found`() {
        #expect(ProjectTree.files.contains { $0.path == "Package.swift" })
        #expect(ProjectTree.sources.count > 10)
    }

    @Test func `no source file is longer than 800 lines`() {
        let sources = ProjectTree.files.filter { $0.isSwift || $0.isPython || $0.isShell }
        let long = sources.filter { $0.lines.count - 1 > Self.linesMax }.map { "\($0.path): \($0.lines.count - 1)" }
        #expect(long.isEmpty)
    }

    @Test func `every source file starts with the header`() {
        let sources = ProjectTree.files.filter { $0.isSwift || $0.isPython || $0.isShell }
        let bare = sources.filter { file in
            // Package.swift must start with the tools version, a script with its interpreter.
            if file.path == "Package.swift" || file.path == "Fuzz/Package.swift"
                || file.path == "Benchmarks/Package.swift"
            {
                return false
            }
            let start = file.lines.first?.hasPrefix("#!") == true ? 1 : 0
            let mark = file.isSwift ? "// " : "# "
            return !Self.header.enumerated().allSatisfy { offset, text in
                start + offset < file.lines.count && file.lines[start + offset] == mark + text
            }
        }
        #expect(bare.map(\.path).isEmpty)
    }

    @Test func `nothing is put off in a comment`() {
        // Written in two halves, so that this file does not find itself.
        let words = ["TO" + "DO", "FIX" + "ME", "XX" + "X:", "not implemented" + " yet"]
        #expect(Self.places { line in words.contains { line.contains($0) } }.isEmpty)
    }

    @Test func `no file names a path of one machine`() {
        let folders = ["home", "Users", "root", "work", "farm"]
        let marks = folders.map { "/" + $0 + "/" } + ["../" + "shared"]
        #expect(Self.places { line in marks.contains { line.contains($0) } }.isEmpty)
    }

    @Test func `no source file crashes on input or leaves the checks of concurrency without a proof`() {
        var bad: [String] = []
        for file in ProjectTree.sources {
            for (number, line) in file.lines.enumerated() {
                let code = line.split(separator: "//", maxSplits: 1, omittingEmptySubsequences: false)[0]
                if code.contains("fatal" + "Error(") { bad.append("\(file.path):\(number + 1)") }
                guard code.contains("@unchecked " + "Sendable") || code.contains("nonisolated" + "(unsafe)") else {
                    continue
                }
                let above = number > 0 ? file.lines[number - 1] : ""
                if !above.contains("//") { bad.append("\(file.path):\(number + 1) needs its proof on the line above") }
            }
        }
        #expect(bad.isEmpty)
    }

    /// The places, as `path:line`, where a line of any file fits.
    private static func places(where fits: (Substring) -> Bool) -> [String] {
        ProjectTree.files.flatMap { file in
            file.lines.enumerated().filter { fits($0.element) }.map { "\(file.path):\($0.offset + 1)" }
        }
    }
}
