// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import FoundationEssentials

/// The lines of a file that lists devices.
enum DeviceLines {
    /// One device of the file.
    struct Line: Hashable {
        /// Its id.
        let id: String
        /// Its first key, or nil for one that the hub makes.
        let primaryKey: String?
        /// Its second key.
        let secondaryKey: String?
    }

    /// The devices of a text.
    ///
    /// Commas may stand in ids, so an id with one cannot be given here: the hub would be asked for another device.
    ///
    /// - Parameters:
    ///   - text: lines `ID[,PRIMARY-KEY[,SECONDARY-KEY]]`.
    ///   - file: the name for messages.
    /// - Returns: the devices in order.
    /// - Throws: ``CommandError/badLine(file:line:reason:)``.
    static func parse(_ text: String, file: String) throws(CommandError) -> [Line] {
        var lines: [Line] = []
        let rows = text.split(omittingEmptySubsequences: false, whereSeparator: \.isNewline)
        for (index, row) in rows.enumerated() {
            let cells = row.split(separator: ",", omittingEmptySubsequences: false).map(trimmed)
            guard let id = cells.first, !row.hasPrefix("#"), cells != [""] else { continue }
            guard !id.isEmpty else { throw .badLine(file: file, line: index + 1, reason: "there is no id.") }
            guard cells.count <= 3 else {
                throw .badLine(
                    file: file,
                    line: index + 1,
                    reason: "there are \(cells.count) fields, at most 3 can be."
                )
            }
            for key in cells.dropFirst() where !key.isEmpty && Data(base64Encoded: key) == nil {
                throw .badLine(file: file, line: index + 1, reason: "a key is not base64 text.")
            }
            lines.append(.init(id: id, primaryKey: cell(1, of: cells), secondaryKey: cell(2, of: cells)))
        }
        return lines
    }

    private static func cell(_ index: Int, of cells: [String]) -> String? {
        guard index < cells.count, !cells[index].isEmpty else { return nil }
        return cells[index]
    }

    private static func trimmed(_ text: Substring) -> String {
        String(text.drop(while: \.isWhitespace).reversed().drop(while: \.isWhitespace).reversed())
    }
}
