// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import Glibc
import HubModel
import Logging

/// Formats log events, as text for people or as one JSON object a line, and gives them to a sink.
struct HubLogHandler: LogHandler {
    var logLevel: Logger.Level
    var metadata: Logger.Metadata = [:]
    var metadataProvider: Logger.MetadataProvider?

    private let label: String
    private let format: LogFormat
    private let sink: LogSink

    init(label: String, format: LogFormat, level: Logger.Level, sink: LogSink) {
        self.label = label
        self.format = format
        self.sink = sink
        logLevel = level
    }

    subscript(metadataKey key: String) -> Logger.Metadata.Value? {
        get { metadata[key] }
        set { metadata[key] = newValue }
    }

    func log(event: LogEvent) {
        var fields = metadata
        if let provided = metadataProvider?.get() { fields.merge(provided) { $1 } }
        if let own = event.metadata { fields.merge(own) { $1 } }
        if let error = event.error { fields["error"] = "\(error)" }
        let sorted = fields.sorted { $0.key < $1.key }.map { (LogText.safe($0.key), LogText.safe("\($0.value)")) }
        let message = LogText.safe(event.message.description)
        sink.write(format == .json ? json(event.level, message, sorted) : text(event.level, message, sorted))
    }

    private func text(_ level: Logger.Level, _ message: String, _ fields: [(String, String)]) -> String {
        var line = "\(LogText.timestamp()) \(level.rawValue): \(message)"
        for (key, value) in fields {
            // Quoted as a JSON string is: what a peer chose can't pass for a field of its own.
            let isPlain = !value.isEmpty && !value.contains { $0 == " " || $0 == "\"" || $0 == "=" }
            line += " \(key)=" + (isPlain ? value : LogText.quoted(value))
        }
        return line
    }

    private func json(_ level: Logger.Level, _ message: String, _ fields: [(String, String)]) -> String {
        var line =
            "{\"time\":\"\(LogText.timestamp())\",\"level\":\"\(level.rawValue)\",\"logger\":\(LogText.quoted(label))"
        line += ",\"message\":\(LogText.quoted(message))"
        if !fields.isEmpty {
            line += ",\"fields\":{"
            line += fields.map { "\(LogText.quoted($0)):\(LogText.quoted($1))" }.joined(separator: ",")
            line += "}"
        }
        return line + "}"
    }
}

/// Makes text safe to log: no control characters, no secrets, no great length.
enum LogText {
    /// The longest text of one field, in characters.
    static let lengthMax = 1_024

    /// Escapes what could forge lines or colours, cuts what is too long, and masks what looks like a key or a token.
    static func safe(_ text: String) -> String {
        var result = ""
        for scalar in Redaction.masked(text).unicodeScalars.prefix(lengthMax) {
            let hides = scalar.properties.generalCategory == .control || scalar.properties.generalCategory == .format
            if hides || scalar == "\u{2028}" || scalar == "\u{2029}" {
                let digits = String(scalar.value, radix: 16)
                result += "\\u" + String(repeating: "0", count: max(0, 4 - digits.count)) + digits
            } else {
                result.unicodeScalars.append(scalar)
            }
        }
        return text.unicodeScalars.count > lengthMax ? result + "..." : result
    }

    /// A JSON string; `text` has no control characters.
    static func quoted(_ text: String) -> String {
        var result = "\""
        for character in text.unicodeScalars {
            if character == "\"" || character == "\\" { result += "\\" }
            result.unicodeScalars.append(character)
        }
        return result + "\""
    }

    /// Now, in UTC with milliseconds.
    static func timestamp() -> String {
        let now = HubClock.system.milliseconds
        var seconds = time_t(now / 1_000)
        var parts = tm()
        gmtime_r(&seconds, &parts)
        func two(_ value: Int32) -> String { value < 10 ? "0\(value)" : "\(value)" }
        let milliseconds = String(1_000 + now % 1_000).dropFirst()
        return "\(parts.tm_year + 1900)-\(two(parts.tm_mon + 1))-\(two(parts.tm_mday))"
            + "T\(two(parts.tm_hour)):\(two(parts.tm_min)):\(two(parts.tm_sec)).\(milliseconds)Z"
    }
}

/// The last line of defence against secrets in logs: masks the values of fields that hold keys and signatures.
///
/// Nothing is meant to log them in the first place; what a library writes about an error is not ours to choose.
enum Redaction {
    private static let fields = [
        "sharedaccesskey=", "sharedaccesssignature=", "sig=", "password=", "primarykey=", "secondarykey=",
    ]

    static func masked(_ text: String) -> String {
        guard text.utf8.contains(0x3d) else { return text }
        let lower = Array(text.lowercased())
        let characters = Array(text)
        // Lower-casing can change the number of characters; then nothing can be told apart, and nothing is shown.
        guard lower.count == characters.count else { return "(masked)" }
        var result = ""
        var index = 0
        while index < characters.count {
            guard let field = fields.first(where: { lower[index...].starts(with: $0) }) else {
                result.append(characters[index])
                index += 1
                continue
            }
            result += String(characters[index..<index + field.count]) + "***"
            index += field.count
            while index < characters.count, !" ;&\"',\n\t)]}".contains(characters[index]) { index += 1 }
        }
        return result
    }
}
