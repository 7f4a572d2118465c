// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import FoundationEssentials
import JSON
import NIOCore

/// A twin as text for people: what it holds, without metadata; `--json` gives those.
enum TwinText {
    /// The lines of a twin's document, or the document itself when it is not in the form that twins have.
    static func sheet(_ document: Data) -> String {
        let text = String(decoding: document, as: UTF8.self)
        guard let root = try? JSONDocument(parsing: text).root, let properties = root["properties"] else {
            return text + "\n"
        }
        var sheet = Sheet()
        sheet.add("device", root["deviceId"]?.string)
        if let module = root["moduleId"]?.string {
            sheet.add("module", module)
        }
        sheet.add("connection", root["connectionState"]?.string)
        sheet.add("last activity", Sheet.time(root["lastActivityTime"]?.string))
        sheet.add("version", root["version"]?.numberText)
        sheet.add("etag", root["etag"]?.string)
        var lines = sheet.render()
        lines += self.section("tags", root["tags"])
        for name in ["desired", "reported"] {
            let version = properties[name]?["$version"]?.numberText ?? "-"
            lines += self.section("\(name), version \(version)", properties[name])
        }
        return lines
    }

    private static func section(_ heading: String, _ value: JSONValue?) -> String {
        let text = value.map { PrettyJSON.text($0, indent: 2) { $0.hasPrefix("$") } } ?? "{}"
        return "\(heading)\n  \(text)\n"
    }
}
