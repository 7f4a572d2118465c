// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import Yams

/// What the YAML parser did not like, with the line.
struct YAMLProblem {
    let line: Int
    /// Without the file's text, which may hold secrets.
    let reason: String

    init(_ error: any Error, text: String) {
        switch error as? YamlError {
        case .scanner(_, let problem, let mark, _), .parser(_, let problem, let mark, _),
            .composer(_, let problem, let mark, _):
            line = mark.line
            reason = problem
        case .duplicatedKeysInMapping(let keys, let context):
            let names = keys.map { "\($0)" }
            // The parser tells where the mapping begins; the last of the lines with this key is the one to look at.
            let lines = text.split(separator: "\n", omittingEmptySubsequences: false)
            let last = lines.lastIndex { line in names.contains { line.drop { $0 == " " }.hasPrefix("\($0):") } }
            line = last.map { $0 + 1 } ?? context.mark.line
            reason = "\(names.joined(separator: ", ")) is there twice"
        default:
            line = 1
            reason = "it can't be read"
        }
    }
}
