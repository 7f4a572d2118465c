// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import Testing

/// The pages say what is: their links lead somewhere, and so do the pages that sources cite.
@Suite struct DocumentTests {
    @Test func `every link of a page leads to a file and a heading of the project`() {
        var broken: [String] = []
        for page in ProjectTree.files where page.isMarkdown {
            for link in Self.links(of: page) {
                if link.contains("://") || link.hasPrefix("mailto:") { continue }
                if let problem = Self.problem(with: link, in: page) { broken.append("\(page.path): \(problem)") }
            }
        }
        #expect(broken.isEmpty)
    }

    @Test func `every page that a source file cites exists, and so does the cited heading`() {
        var broken: [String] = []
        for file in ProjectTree.files where file.isSwift || file.isPython || file.isShell {
            for (number, line) in file.lines.enumerated() {
                for citation in Self.citations(in: line) {
                    let parts = citation.split(separator: "#", maxSplits: 1)
                    guard let page = ProjectTree.file(String(parts[0])) else {
                        broken.append("\(file.path):\(number + 1) cites \(citation)")
                        continue
                    }
                    if parts.count == 2, !Self.anchors(of: page).contains(String(parts[1])) {
                        broken.append("\(file.path):\(number + 1) cites \(citation)")
                    }
                }
            }
        }
        #expect(broken.isEmpty)
    }

    @Test func `a heading's anchor is what a forge makes of it`() {
        #expect(Self.anchor("## 7.1 Topics, and `$management`") == "71-topics-and-management")
    }

    private static func problem(with link: String, in page: ProjectFile) -> String? {
        let parts = link.split(separator: "#", maxSplits: 1, omittingEmptySubsequences: false)
        let folder = page.path.split(separator: "/").dropLast().joined(separator: "/")
        let path = parts[0].isEmpty ? page.path : resolve(String(parts[0]), from: folder)
        guard ProjectTree.exists(path) else { return "no file \(link)" }
        guard parts.count == 2, let target = ProjectTree.file(path), target.isMarkdown else { return nil }
        return anchors(of: target).contains(String(parts[1])) ? nil : "no heading \(link)"
    }

    private static func resolve(_ link: String, from folder: String) -> String {
        var parts = folder.split(separator: "/").map(String.init)
        for part in link.split(separator: "/") where part != "." {
            if part == ".." {
                _ = parts.popLast()
            } else {
                parts.append(String(part))
            }
        }
        return parts.joined(separator: "/")
    }

    /// The targets of `[text](target)` outside fenced code.
    private static func links(of page: ProjectFile) -> [String] {
        var isCode = false
        var found: [String] = []
        for line in page.lines {
            if line.hasPrefix("```") { isCode.toggle() }
            if isCode { continue }
            for piece in line.split(separator: "](", omittingEmptySubsequences: false).dropFirst() {
                guard let end = piece.firstIndex(of: ")") else { continue }
                found.append(String(piece[..<end]))
            }
        }
        return found
    }

    /// The pages that a line cites by their path from the root, each with its heading if one is named.
    private static func citations(in line: Substring) -> [String] {
        line.split(separator: "docs/").dropFirst(line.hasPrefix("docs/") ? 0 : 1).compactMap { rest in
            guard let end = rest.firstRange(of: ".md") else { return nil }
            let path = rest[..<end.upperBound]
            guard path.allSatisfy({ $0.isLetter || $0.isNumber || "/-_.".contains($0) }) else { return nil }
            let tail = rest[end.upperBound...]
            guard tail.first == "#" else { return "docs/" + path }
            return "docs/" + path + tail.prefix { $0.isLetter || $0.isNumber || "#-_".contains($0) }
        }
    }

    private static func anchors(of page: ProjectFile) -> Set<String> {
        Set(page.lines.filter { $0.hasPrefix("#") }.map(anchor))
    }

    /// GitHub's rule: lower case, blanks to hyphens, and only letters, digits, hyphens and underscores stay.
    private static func anchor(_ heading: Substring) -> String {
        let text = heading.drop { $0 == "#" }.drop { $0 == " " }.lowercased()
        return String(
            text.compactMap { $0 == " " ? "-" : ($0.isLetter || $0.isNumber || "-_".contains($0)) ? $0 : nil }
        )
    }

    private static func anchor(_ heading: String) -> String { anchor(heading[...]) }
}
