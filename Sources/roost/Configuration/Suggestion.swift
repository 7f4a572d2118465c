// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

/// Finds what somebody probably meant.
enum Suggestion {
    /// The name that is least far from `text`, or nil when none is near.
    static func nearest(to text: String, among names: [String]) -> String? {
        let wanted = Array(text.lowercased().utf8)
        var best: (name: String, distance: Int)?
        for name in names {
            let full = distance(wanted, Array(name.lowercased().utf8))
            // Somebody may know the last word only, or have put it into the wrong group.
            let lastOfName = name.split(separator: ".").last.map { Array($0.lowercased().utf8) } ?? []
            let lastOfText = text.split(separator: ".").last.map { Array($0.lowercased().utf8) } ?? []
            let last = distance(lastOfText, lastOfName)
            let isNear = lastOfText.count > 3 && last <= max(1, lastOfText.count / 4)
            let shortest = isNear ? min(full, last + 1) : full
            if shortest < (best?.distance ?? Int.max) { best = (name, shortest) }
        }
        guard let best, best.distance <= max(2, wanted.count / 4) else { return nil }
        return best.name
    }

    /// Levenshtein's distance: insertions, deletions and replacements.
    private static func distance(_ a: [UInt8], _ b: [UInt8]) -> Int {
        var previous = Array(0...b.count)
        for (row, byte) in a.enumerated() {
            var current = [row + 1]
            for (column, other) in b.enumerated() {
                let replaced = previous[column] + (byte == other ? 0 : 1)
                current.append(min(replaced, previous[column + 1] + 1, current[column] + 1))
            }
            previous = current
        }
        return previous[b.count]
    }
}
