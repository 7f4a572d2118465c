// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import FoundationEssentials

/// One text file of the project, with its path from the project's root.
struct ProjectFile {
    let path: String
    let lines: [Substring]

    var name: Substring { path.split(separator: "/").last ?? "" }
    var isSwift: Bool { path.hasSuffix(".swift") }
    var isPython: Bool { path.hasSuffix(".py") }
    var isMarkdown: Bool { path.hasSuffix(".md") }
    var isShell: Bool { path.hasPrefix("scripts/") || path.hasPrefix(".ci/") || path == "Makefile" }

    /// The folder under `Sources` or `Tests` that the file belongs to, which is its target's name.
    var target: Substring? {
        let parts = path.split(separator: "/")
        return parts.count > 2 && (parts[0] == "Sources" || parts[0] == "Tests") ? parts[1] : nil
    }

    var text: String { lines.joined(separator: "\n") }
}

/// What the tidy tests read: every source, script and page of the project, and nothing that is built or installed.
enum ProjectTree {
    /// The project's root, found from this file's own place.
    static let root: String = {
        var parts = #filePath.split(separator: "/", omittingEmptySubsequences: false)
        parts.removeLast(3)
        return parts.joined(separator: "/")
    }()

    /// Folders that hold what others made: build output, installed packages, data, the history.
    private static let skipped: Set<String> = [
        ".git", ".venv", "data", "roost-data", "__pycache__", "Corpus", "Regressions",
    ]

    static let files: [ProjectFile] = {
        var found: [ProjectFile] = []
        collect(in: "", into: &found)
        return found.sorted { $0.path < $1.path }
    }()

    static var sources: [ProjectFile] { files.filter { $0.path.hasPrefix("Sources/") && $0.isSwift } }

    static func exists(_ path: String) -> Bool { FileManager.default.fileExists(atPath: root + "/" + path) }

    static func file(_ path: String) -> ProjectFile? { files.first { $0.path == path } }

    private static func collect(in folder: String, into found: inout [ProjectFile]) {
        let manager = FileManager.default
        let absolute = folder.isEmpty ? root : root + "/" + folder
        let names = (try? manager.contentsOfDirectory(atPath: absolute)) ?? []
        for name in names where !skipped.contains(name) && !name.hasPrefix(".build") {
            let path = folder.isEmpty ? name : folder + "/" + name
            var isFolder = false
            guard manager.fileExists(atPath: root + "/" + path, isDirectory: &isFolder) else { continue }
            if isFolder {
                collect(in: path, into: &found)
            } else if let file = read(path) {
                found.append(file)
            }
        }
    }

    private static func read(_ path: String) -> ProjectFile? {
        let isText = [".swift", ".py", ".md", ".toml", ".txt", ".yml", ".yaml"].contains { path.hasSuffix($0) }
        let file = ProjectFile(path: path, lines: [])
        guard isText || file.isShell else { return nil }
        guard let bytes = FileManager.default.contents(atPath: root + "/" + path) else { return nil }
        let text = String(decoding: bytes, as: UTF8.self)
        return ProjectFile(path: path, lines: text.split(separator: "\n", omittingEmptySubsequences: false))
    }
}
