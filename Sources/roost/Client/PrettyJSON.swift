// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import JSON
import NIOCore

/// JSON for people: a line for each member, numbers and order as they were sent.
enum PrettyJSON {
    /// The text of a value.
    ///
    /// Names and strings stay as JSON writes them, so that no control character reaches the terminal.
    ///
    /// - Parameters:
    ///   - value: the value.
    ///   - indent: how many blanks every line but the first begins with.
    ///   - skips: which members of the value itself are left out.
    /// - Returns: one or more lines without a line feed at the end.
    static func text(_ value: JSONValue, indent: Int = 0, skipping skips: (String) -> Bool = { _ in false }) -> String {
        let inner = String(repeating: " ", count: indent + 2)
        let parts: [String]
        let ends: (String, String)
        switch value.kind {
        case .object:
            ends = ("{", "}")
            parts = value.members.filter { !skips($0.name) }.map { member in
                "\(printable(String(buffer: member.rawName))): \(self.text(member.value, indent: indent + 2))"
            }
        case .array:
            ends = ("[", "]")
            parts = value.elements.map { self.text($0, indent: indent + 2) }
        default:
            return printable(String(buffer: value.raw))
        }
        guard !parts.isEmpty else { return ends.0 + ends.1 }
        let lines = parts.map { inner + $0 }.joined(separator: ",\n")
        return "\(ends.0)\n\(lines)\n\(String(repeating: " ", count: indent))\(ends.1)"
    }
}
