// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

#if canImport(Glibc)
import Glibc
#endif

/// A line that says how far something is: on a terminal always the same one, else one after another.
struct ProgressLine {
    /// Whether standard error is a terminal.
    static var isTerminal: Bool { isatty(STDERR_FILENO) == 1 }

    private let rewrites: Bool
    private var width = 0

    init(rewrites: Bool = Self.isTerminal) {
        self.rewrites = rewrites
    }

    /// Shows a text in place of the one before.
    mutating func show(_ text: String) {
        guard self.rewrites else { return note(text) }
        // Blanks take away what is left of a longer text.
        let padding = String(repeating: " ", count: max(0, self.width - text.count))
        self.width = text.count
        StandardStreams.error("\r\(text)\(padding)")
    }

    /// Ends the line, so that what comes next begins on its own.
    mutating func end() {
        guard self.rewrites, self.width > 0 else { return }
        self.width = 0
        note("")
    }
}
