// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import Testing

/// Tests that show a statement of `docs/wire` carry its page and number in their name; this keeps the names honest.
@Suite struct StatementTests {
    /// The page that holds the statements of each name.
    private static let pages = [
        "mqtt": "docs/wire/mqtt.md", "amqp": "docs/wire/amqp.md", "event_hubs": "docs/wire/event-hubs.md",
        "rest_service": "docs/wire/http.md", "security": "docs/wire/security.md",
    ]

    @Test func `a test names at most three statements`() {
        let greedy = Self.tests.filter { Self.statements(in: $0.name).count > 3 }
        #expect(greedy.map(\.name).isEmpty)
    }

    @Test func `each statement that a test names is on its page`() {
        let known = Self.pages.mapValues { page in Self.numbers(on: page) }
        let unknown = Self.tests.flatMap { test in
            Self.statements(in: test.name).filter { known[$0.page]?.contains($0.number) == false }.map {
                "\(test.place): \($0.page) \($0.number)"
            }
        }
        #expect(unknown.isEmpty)
    }

    @Test func `a statement is found in both forms of a name`() {
        let swift = Self.statements(in: "`event hubs 017 mqtt 005 a sentence of 12 words`()")
        let python = Self.statements(in: "def test_event_hubs_017_mqtt_005_a_sentence_of_12_words():")
        #expect(swift.map(\.number) == [17, 5])
        #expect(swift == python)
    }

    private struct Statement: Hashable {
        let page: String
        let number: Int
    }

    private struct NamedTest {
        let place: String
        let name: String
    }

    /// The lines that name tests: functions in backticks and Python functions.
    private static let tests: [NamedTest] = ProjectTree.files.flatMap { file -> [NamedTest] in
        guard file.path.hasPrefix("Tests/") || file.path.hasPrefix("sdk-tests/") else { return [] }
        return file.lines.enumerated().compactMap { offset, line in
            let isTest = file.isSwift ? line.contains("func `") : file.isPython && line.contains("def test_")
            return isTest ? NamedTest(place: "\(file.path):\(offset + 1)", name: String(line)) : nil
        }
    }

    /// Page and number of each statement in a name.
    private static func statements(in name: String) -> [Statement] {
        let words = name.split { !($0.isLetter || $0.isNumber) }.map { $0.lowercased() }
        return words.indices.dropFirst().compactMap { index in
            guard words[index].count == 3, let number = Int(words[index]) else { return nil }
            let short = words[index - 1]
            let long = index > 1 ? words[index - 2] + "_" + short : short
            return [long, short].first { pages[$0] != nil }.map { Statement(page: $0, number: number) }
        }
    }

    /// The numbers in the first column of a page's table of statements.
    private static func numbers(on page: String) -> Set<Int> {
        let lines = ProjectTree.file(page)?.lines ?? []
        let table = lines.drop { $0 != "## Statements" }
        return Set(table.compactMap { $0.split(separator: " ").dropFirst().first.flatMap { Int($0) } })
    }
}
