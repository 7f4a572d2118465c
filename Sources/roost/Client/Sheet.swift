// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

/// One line for each thing that is known of something, in two columns.
struct Sheet: Sendable {
    private var lines: [(name: String, value: String)] = []

    /// Adds a line; nil shows as a dash.
    mutating func add(_ name: String, _ value: String?) {
        self.lines.append((name, value ?? "-"))
    }

    /// The text, with a line feed after each line.
    func render() -> String {
        let width = self.lines.map(\.name.count).max() ?? 0
        return self.lines.map { name, value in
            name + String(repeating: " ", count: width - name.count + 2) + printable(value) + "\n"
        }.joined()
    }

    /// A time of the registry; year 1 is how it writes "never".
    static func time(_ text: String?) -> String {
        guard let text, !text.hasPrefix("0001-") else { return "never" }
        return text
    }
}
