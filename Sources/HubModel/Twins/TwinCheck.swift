// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import JSON
import NIOCore

/// The rules that the names and values of a twin keep (docs/wire/http.md#twins).
struct TwinCheck {
    let limits: TwinLimits

    /// Checks a member and all below it.
    ///
    /// Recursion ends at `depthMax`, which the parser's own limit bounds too.
    func member(_ member: JSONMember, depth: Int, isInArray: Bool) throws(HubError) {
        try self.name(member.rawName, member)
        try self.value(member.value, of: member, depth: depth, isInArray: isInArray)
    }

    private func value(_ value: JSONValue, of member: JSONMember, depth: Int, isInArray: Bool) throws(HubError) {
        switch value.kind {
        case .true, .false: return
        case .null:
            guard !isInArray else { throw HubError(.argumentInvalid, "Arrays cannot contain 'null' as value") }
        case .string:
            let length = value.stringSizeBytes
            guard length <= self.limits.stringBytesMax else {
                throw HubError(
                    .argumentInvalid,
                    "Value associated with property name \(Self.printable(member)) has length \(length) that exceeds "
                        + "maximum length of \(self.limits.stringBytesMax)"
                )
            }
        case .number: try self.number(value, member)
        case .object:
            try self.nested(depth)
            for inner in value.members { try self.member(inner, depth: depth + 1, isInArray: isInArray) }
        case .array:
            try self.nested(depth)
            for element in value.elements {
                try self.value(element, of: member, depth: depth + 1, isInArray: true)
            }
        }
    }

    private func nested(_ depth: Int) throws(HubError) {
        guard depth < self.limits.depthMax else {
            throw HubError(.argumentInvalid, "Nested depth of twin property exceeds \(self.limits.depthMax)")
        }
    }

    private func name(_ raw: ByteBuffer, _ member: JSONMember) throws(HubError) {
        // A name without escapes is its text between the quotes; nearly all names are ASCII.
        var isPlain = true
        for byte in raw.readableBytesView.dropFirst().dropLast() {
            switch byte {
            case UInt8(ascii: "."), UInt8(ascii: "$"), UInt8(ascii: "#"), 0...0x20, 0x7F:
                throw self.badCharacter(Unicode.Scalar(byte), in: member)
            case UInt8(ascii: "\\"), 0x80...: isPlain = false
            default: continue
            }
        }
        var length = raw.readableBytes - 2
        if !isPlain {
            let name = member.name
            length = name.utf8.count
            for scalar in name.unicodeScalars where Self.isForbidden(scalar) {
                throw self.badCharacter(scalar, in: member)
            }
        }
        guard length <= self.limits.nameBytesMax else {
            throw HubError(
                .argumentInvalid,
                "Length of property name \(Self.printable(member)).. exceeds maximum length of \(self.limits.nameBytesMax)"
            )
        }
    }

    private static func isForbidden(_ scalar: Unicode.Scalar) -> Bool {
        switch scalar {
        case ".", "$", "#": true
        default: scalar.properties.generalCategory == .control || scalar.properties.isWhitespace
        }
    }

    private func badCharacter(_ scalar: Unicode.Scalar, in member: JSONMember) -> HubError {
        let isVisible = !Self.isForbidden(scalar) || scalar == "." || scalar == "$" || scalar == "#"
        let shown = isVisible ? String(scalar) : "U+" + String(scalar.value, radix: 16, uppercase: true)
        return HubError(
            .argumentInvalid,
            "Property name \(Self.printable(member)) contains invalid character '\(shown)'"
        )
    }

    private func number(_ value: JSONValue, _ member: JSONMember) throws(HubError) {
        let raw = value.raw
        guard raw.readableBytes <= self.limits.numberBytesMax else {
            throw HubError(
                .argumentInvalid,
                "Property \(Self.printable(member)) has a number of more than \(self.limits.numberBytesMax) characters"
            )
        }
        let isInteger = raw.readableBytesView.allSatisfy { byte in
            byte == UInt8(ascii: "-") || (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte)
        }
        guard isInteger else { return }
        guard let integer = value.int, self.limits.integers.contains(integer) else {
            throw HubError(
                .argumentInvalid,
                "Property \(Self.printable(member)) has an out of bound value. Valid values are between "
                    + "\(self.limits.integers.lowerBound) and \(self.limits.integers.upperBound)"
            )
        }
    }

    /// The first characters of a name, without any that would break a log line or a header.
    private static func printable(_ member: JSONMember) -> String {
        String(
            String.UnicodeScalarView(
                member.name.unicodeScalars.prefix(10).filter {
                    !$0.properties.isWhitespace && $0.properties.generalCategory != .control
                }
            )
        )
    }
}
