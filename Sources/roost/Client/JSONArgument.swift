// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import FoundationEssentials
import JSON
import NIOCore

/// A JSON text given to a command: as it is, `@FILE`, or `@-` for standard input.
enum JSONArgument {
    /// Reads and checks the text.
    ///
    /// - Parameters:
    ///   - text: what the user gave.
    ///   - name: what it is, for messages.
    ///   - needsObject: whether it must be an object.
    /// - Returns: the text as it was written.
    /// - Throws: ``CommandError/unreadableFile(_:reason:)`` or ``CommandError/badJSON(name:reason:)``.
    static func read(_ text: String, name: String, needsObject: Bool = false) throws(CommandError) -> Data {
        let bytes: String = text.hasPrefix("@") ? try InputFile.text(String(text.dropFirst())) : text
        let document: JSONDocument
        do {
            document = try JSONDocument(parsing: bytes)
        } catch {
            throw .badJSON(name: name, reason: "\(error)")
        }
        guard !needsObject || document.root.kind == .object else {
            throw .badJSON(name: name, reason: "it must be an object, such as {\"a\":1}")
        }
        return Data(bytes.utf8)
    }
}
