// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

/// Why a text is not acceptable JSON, and where.
public struct JSONError: Error, Sendable, Hashable, CustomStringConvertible {
    /// What is wrong with the text.
    public enum Reason: String, Sendable, Hashable {
        /// The text is longer than `JSONLimits.bytesMax`.
        case tooLarge = "the text is too large"
        /// Objects and arrays are nested deeper than `JSONLimits.depthMax`.
        case tooDeep = "the text is nested too deeply"
        /// The text ends before its value does.
        case unexpectedEnd = "the text ends too early"
        /// A byte stands where the grammar allows another.
        case unexpectedByte = "unexpected character"
        /// Something other than white space follows the value.
        case trailingBytes = "unexpected text after the value"
        /// A number does not follow RFC 8259, section 6.
        case invalidNumber = "invalid number"
        /// An escape is unknown, or half of a surrogate pair.
        case invalidEscape = "invalid escape in a string"
        /// A character below U+0020 stands unescaped in a string.
        case controlCharacter = "control character in a string"
        /// A string is not UTF-8.
        case invalidUTF8 = "a string is not valid UTF-8"
    }

    /// What is wrong.
    public var reason: Reason

    /// Where the parser stopped, in bytes from the start of the text.
    public var offset: Int

    /// Makes an error for a place in a text.
    public init(_ reason: Reason, at offset: Int) {
        self.reason = reason
        self.offset = offset
    }

    /// One sentence that never holds any of the text.
    public var description: String { "\(self.reason.rawValue), at byte \(self.offset)" }
}
