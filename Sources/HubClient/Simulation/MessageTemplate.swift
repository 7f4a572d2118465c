// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import HubModel
public import NIOCore

/// A text with placeholders in double braces, which are filled in anew for each message.
///
/// | placeholder | becomes |
/// | --- | --- |
/// | `{{device}}` | the id of the device |
/// | `{{counter}}` | the number of the message, from 1 |
/// | `{{time}}` | the time as ISO 8601 in UTC |
/// | `{{milliseconds}}` | the time in milliseconds since 1970 |
/// | `{{random MIN MAX}}` | a random number: whole, or with as many decimals as the bounds |
public struct MessageTemplate: Hashable, Sendable {
    private enum Part: Hashable, Sendable {
        case text(String)
        case device
        case counter
        case time
        case milliseconds
        /// Bounds as whole numbers of the smallest unit, and how many decimals that unit has.
        case random(ClosedRange<Int64>, decimals: Int)
    }

    /// What stands for the things that differ from message to message.
    public struct Values: Hashable, Sendable {
        /// The id of the device.
        public var device: String
        /// The number of the message.
        public var counter: UInt64
        /// Milliseconds since 1970.
        public var milliseconds: Int64

        /// Makes values.
        public init(device: String, counter: UInt64, milliseconds: Int64) {
            self.device = device
            self.counter = counter
            self.milliseconds = milliseconds
        }
    }

    private let parts: [Part]

    /// Reads a template.
    ///
    /// - Throws: ``MessageTemplateError``.
    public init(_ text: String) throws(MessageTemplateError) {
        var parts: [Part] = []
        var rest = Substring(text)
        while var start = rest.firstRange(of: "{{") {
            // Of more than two braces the last two are meant: the others are of the JSON around.
            while rest[start.upperBound...].first == "{" {
                start = rest.index(after: start.lowerBound)..<rest.index(after: start.upperBound)
            }
            guard let end = rest[start.upperBound...].firstRange(of: "}}") else {
                throw .unclosed(String(rest[start.lowerBound...].prefix(40)))
            }
            if start.lowerBound > rest.startIndex {
                parts.append(.text(String(rest[..<start.lowerBound])))
            }
            parts.append(try Self.part(rest[start.upperBound..<end.lowerBound]))
            rest = rest[end.upperBound...]
        }
        if !rest.isEmpty {
            parts.append(.text(String(rest)))
        }
        self.parts = parts
    }

    private static func part(_ text: Substring) throws(MessageTemplateError) -> Part {
        let words = text.split(separator: " ")
        switch (words.first, words.count) {
        case ("device", 1): return .device
        case ("counter", 1): return .counter
        case ("time", 1): return .time
        case ("milliseconds", 1): return .milliseconds
        case ("random", 3):
            guard let low = Decimals(words[1]), let high = Decimals(words[2]) else { throw .badRange(String(text)) }
            let decimals = max(low.count, high.count)
            guard let from = low.scaled(to: decimals), let to = high.scaled(to: decimals), from <= to else {
                throw .badRange(String(text))
            }
            return .random(from...to, decimals: decimals)
        default: throw .unknown(String(text))
        }
    }

    /// A message.
    ///
    /// - Parameters:
    ///   - values: what the placeholders stand for.
    ///   - random: where random numbers come from.
    /// - Returns: the text.
    public func filled(_ values: Values, using random: inout some RandomNumberGenerator) -> ByteBuffer {
        var buffer = ByteBuffer()
        for part in self.parts {
            switch part {
            case .text(let text): buffer.writeString(text)
            case .device: buffer.writeString(values.device)
            case .counter: buffer.writeString(String(values.counter))
            case .time: buffer.writeString(UTCTime.text(milliseconds: values.milliseconds))
            case .milliseconds: buffer.writeString(String(values.milliseconds))
            case .random(let range, let decimals):
                buffer.writeString(Decimals.text(Int64.random(in: range, using: &random), decimals: decimals))
            }
        }
        return buffer
    }
}

/// What is wrong with a template; says what to write.
public enum MessageTemplateError: Error, Hashable, Sendable, CustomStringConvertible {
    /// Braces are opened and not closed.
    case unclosed(String)
    /// The bounds of a random number are none, or the wrong way round.
    case badRange(String)
    /// There is no such placeholder.
    case unknown(String)

    /// One sentence for people.
    public var description: String {
        switch self {
        case .unclosed(let text): "the template has no '}}' after '\(text)'."
        case .badRange(let text): "'{{\(text)}}' has no bounds such as {{random 10 20}} or {{random -1.50 1.50}}."
        case .unknown(let text):
            "'{{\(text)}}' is none of {{device}}, {{counter}}, {{time}}, {{milliseconds}}, {{random MIN MAX}}."
        }
    }
}

/// A decimal number as digits, so that what is printed has the decimals that were asked for.
private struct Decimals {
    /// How many decimals there are.
    let count: Int
    private let digits: Int64

    init?(_ text: Substring) {
        let sides = text.split(separator: ".", maxSplits: 1, omittingEmptySubsequences: false)
        let fraction = sides.count > 1 ? sides[1] : ""
        guard fraction.count <= 9, sides.count == 1 || !fraction.isEmpty, fraction.allSatisfy(\.isNumber),
            let digits = Int64(sides[0] + fraction), digits.magnitude < 1_000_000_000_000
        else { return nil }
        self.count = fraction.count
        self.digits = digits
    }

    func scaled(to decimals: Int) -> Int64? {
        (self.count..<decimals).reduce(Int64?(self.digits)) { value, _ in
            value.flatMap { value in
                let (product, overflow) = value.multipliedReportingOverflow(by: 10)
                return overflow ? nil : product
            }
        }
    }

    static func text(_ value: Int64, decimals: Int) -> String {
        guard decimals > 0 else { return String(value) }
        var digits = String(value.magnitude)
        digits = String(repeating: "0", count: max(0, decimals + 1 - digits.count)) + digits
        let point = digits.index(digits.endIndex, offsetBy: -decimals)
        return (value < 0 ? "-" : "") + digits[..<point] + "." + digits[point...]
    }
}
