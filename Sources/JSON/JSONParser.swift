// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

/// Builds the tape of a document in one pass over its bytes.
///
/// Open containers are kept on the tape itself (an open container's `next` is its parent), so that depth costs neither
/// stack nor memory of its own.
///
/// | state | event | next state |
/// |---|---|---|
/// | value wanted | scalar, `[]`, `{}` | value ended |
/// | value wanted | `[` | value wanted |
/// | value wanted | `{` name `:` | value wanted |
/// | value ended, container open | `,` (and name `:` in an object) | value wanted |
/// | value ended, container open | `]` or `}` | value ended |
/// | value ended, nothing open | end of text | done |
struct JSONParser {
    private(set) var nodes: [JSONNode] = []
    private let depthMax: Int
    private var position = 0
    private var depth = 0
    private var container = Self.none

    private static let none = UInt32.max
    /// Objects with at most this many members are searched for equal names pair by pair; larger ones through a keyed hash.
    private static let pairwiseMembersMax = 16

    init(depthMax: Int, sizeBytes: Int) {
        self.depthMax = depthMax
        self.nodes.reserveCapacity(min(sizeBytes / 6 + 4, 1 << 16))
    }

    mutating func parse(_ bytes: Span<UInt8>) throws(JSONError) {
        while true {
            guard try self.valueWanted(bytes) else { continue }
            if try self.valueEnded(bytes) { return }
        }
    }

    // MARK: States

    /// Reads a scalar, an empty container or the opening of one.
    ///
    /// Returns whether a value ended; otherwise the first value of the opened container is wanted.
    private mutating func valueWanted(_ bytes: Span<UInt8>) throws(JSONError) -> Bool {
        switch try self.nextToken(bytes) {
        case JSONText.quote:
            try self.readString(bytes)
        case UInt8(ascii: "{"):
            try self.open(.object)
            guard try self.nextToken(bytes) == UInt8(ascii: "}") else {
                try self.readName(bytes)
                return false
            }
            self.close(bytes)
        case UInt8(ascii: "["):
            try self.open(.array)
            guard try self.nextToken(bytes) == UInt8(ascii: "]") else { return false }
            self.close(bytes)
        case UInt8(ascii: "t"): try self.readLiteral(bytes, "true", .true)
        case UInt8(ascii: "f"): try self.readLiteral(bytes, "false", .false)
        case UInt8(ascii: "n"): try self.readLiteral(bytes, "null", .null)
        case UInt8(ascii: "-"), UInt8(ascii: "0")...UInt8(ascii: "9"): try self.readNumber(bytes)
        default: throw self.error(.unexpectedByte)
        }
        return true
    }

    /// Closes what ends here.
    ///
    /// Returns whether the whole text ended; otherwise a value is wanted.
    private mutating func valueEnded(_ bytes: Span<UInt8>) throws(JSONError) -> Bool {
        while self.container != Self.none {
            let isObject = self.nodes[Int(self.container)].kind == .object
            switch try self.nextToken(bytes) {
            case UInt8(ascii: ","):
                self.position += 1
                guard isObject else { return false }
                guard try self.nextToken(bytes) == JSONText.quote else { throw self.error(.unexpectedByte) }
                try self.readName(bytes)
                return false
            case UInt8(ascii: "}") where isObject, UInt8(ascii: "]") where !isObject:
                self.close(bytes)
            default: throw self.error(.unexpectedByte)
            }
        }
        self.skipSpace(bytes)
        guard self.position == bytes.count else { throw self.error(.trailingBytes) }
        return true
    }

    // MARK: Containers

    private mutating func open(_ kind: JSONKind) throws(JSONError) {
        guard self.depth < self.depthMax else { throw self.error(.tooDeep) }
        self.depth += 1
        let index = UInt32(self.nodes.count)
        self.nodes.append(
            JSONNode(start: UInt32(self.position), end: 0, next: self.container, kind: kind, flags: [])
        )
        self.container = index
        self.position += 1
    }

    private mutating func close(_ bytes: Span<UInt8>) {
        let index = Int(self.container)
        self.position += 1
        self.depth -= 1
        self.container = self.nodes[index].next
        self.nodes[index].end = UInt32(self.position)
        self.nodes[index].next = UInt32(self.nodes.count)
        if self.nodes[index].kind == .object { self.markShadowed(in: index, bytes) }
        if self.nodes[index].flags.contains(.containsShadowed), self.container != Self.none {
            self.nodes[Int(self.container)].flags.insert(.containsShadowed)
        }
    }

    /// Marks the members that a later one of the same name replaces.
    private mutating func markShadowed(in object: Int, _ bytes: Span<UInt8>) {
        var count = 0
        var key = object + 1
        while key < self.nodes.count {
            count += 1
            key = Int(self.nodes[key + 1].next)
        }
        guard count > 1 else { return }
        guard count <= Self.pairwiseMembersMax else { return self.markShadowedByHash(in: object, bytes) }
        var first = object + 1
        while first < self.nodes.count {
            var second = Int(self.nodes[first + 1].next)
            while second < self.nodes.count {
                if self.sameName(self.nodes[first], self.nodes[second], bytes) {
                    self.nodes[first].flags.insert(.shadowed)
                    self.nodes[object].flags.insert(.containsShadowed)
                    break
                }
                second = Int(self.nodes[second + 1].next)
            }
            first = Int(self.nodes[first + 1].next)
        }
    }

    private mutating func markShadowedByHash(in object: Int, _ bytes: Span<UInt8>) {
        // Swift's hash is keyed per process, so a peer can't choose names that collide. Bytes and not strings, for
        // strings compare by canonical equivalence and names don't.
        var seen: [[UInt8]: Int] = [:]
        var key = object + 1
        while key < self.nodes.count {
            let name = Array(self.name(self.nodes[key], bytes).utf8)
            if let earlier = seen.updateValue(key, forKey: name) {
                self.nodes[earlier].flags.insert(.shadowed)
                self.nodes[object].flags.insert(.containsShadowed)
            }
            key = Int(self.nodes[key + 1].next)
        }
    }

    private func sameName(_ first: JSONNode, _ second: JSONNode, _ bytes: Span<UInt8>) -> Bool {
        if first.flags.contains(.escaped) || second.flags.contains(.escaped) {
            return self.name(first, bytes).utf8.elementsEqual(self.name(second, bytes).utf8)
        }
        let length = Int(first.end - first.start)
        guard length == Int(second.end - second.start) else { return false }
        for offset in 0..<length where bytes[Int(first.start) + offset] != bytes[Int(second.start) + offset] {
            return false
        }
        return true
    }

    private func name(_ node: JSONNode, _ bytes: Span<UInt8>) -> String {
        JSONText.unescaped(bytes.extracting(Int(node.start)..<Int(node.end)))
    }

    // MARK: Scalars

    private mutating func readName(_ bytes: Span<UInt8>) throws(JSONError) {
        guard bytes[self.position] == JSONText.quote else { throw self.error(.unexpectedByte) }
        try self.readString(bytes)
        guard try self.nextToken(bytes) == UInt8(ascii: ":") else { throw self.error(.unexpectedByte) }
        self.position += 1
    }

    private mutating func readString(_ bytes: Span<UInt8>) throws(JSONError) {
        self.position += 1
        let start = self.position
        var flags: JSONNodeFlags = []
        while self.position < bytes.count {
            let byte = bytes[self.position]
            switch byte {
            case JSONText.quote:
                self.append(.string, start: start, flags: flags)
                self.position += 1
                return
            case JSONText.backslash:
                flags.insert(.escaped)
                try self.readEscape(bytes)
            case 0..<0x20: throw self.error(.controlCharacter)
            case 0x20..<0x80: self.position += 1
            default:
                guard let length = JSONText.characterLength(bytes, at: self.position) else {
                    throw self.error(.invalidUTF8)
                }
                self.position += length
            }
        }
        throw self.error(.unexpectedEnd)
    }

    private mutating func readEscape(_ bytes: Span<UInt8>) throws(JSONError) {
        guard self.position + 1 < bytes.count else { throw self.error(.unexpectedEnd) }
        switch bytes[self.position + 1] {
        case JSONText.quote, JSONText.backslash, UInt8(ascii: "/"), UInt8(ascii: "b"), UInt8(ascii: "f"),
            UInt8(ascii: "n"), UInt8(ascii: "r"), UInt8(ascii: "t"):
            self.position += 2
        case UInt8(ascii: "u"):
            guard let unit = JSONText.hexUnit(bytes, at: self.position + 2), !UTF16.isTrailSurrogate(unit) else {
                throw self.error(.invalidEscape)
            }
            guard UTF16.isLeadSurrogate(unit) else {
                self.position += 6
                return
            }
            // Half a pair is no character: no UTF-8 text could carry it to another client.
            guard self.position + 12 <= bytes.count, bytes[self.position + 6] == JSONText.backslash,
                bytes[self.position + 7] == UInt8(ascii: "u"),
                let trail = JSONText.hexUnit(bytes, at: self.position + 8), UTF16.isTrailSurrogate(trail)
            else { throw self.error(.invalidEscape) }
            self.position += 12
        default: throw self.error(.invalidEscape)
        }
    }

    private mutating func readNumber(_ bytes: Span<UInt8>) throws(JSONError) {
        let start = self.position
        if bytes[self.position] == UInt8(ascii: "-") { self.position += 1 }
        if self.position < bytes.count, bytes[self.position] == UInt8(ascii: "0") {
            self.position += 1
        } else {
            try self.readDigits(bytes)
        }
        if self.position < bytes.count, bytes[self.position] == UInt8(ascii: ".") {
            self.position += 1
            try self.readDigits(bytes)
        }
        if self.position < bytes.count, bytes[self.position] | 0x20 == UInt8(ascii: "e") {
            self.position += 1
            if self.position < bytes.count, [UInt8(ascii: "+"), UInt8(ascii: "-")].contains(bytes[self.position]) {
                self.position += 1
            }
            try self.readDigits(bytes)
        }
        self.append(.number, start: start, flags: [])
    }

    private mutating func readDigits(_ bytes: Span<UInt8>) throws(JSONError) {
        let start = self.position
        while self.position < bytes.count, (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(bytes[self.position]) {
            self.position += 1
        }
        guard self.position > start else { throw self.error(.invalidNumber) }
    }

    private mutating func readLiteral(
        _ bytes: Span<UInt8>,
        _ literal: StaticString,
        _ kind: JSONKind
    ) throws(JSONError) {
        let start = self.position
        let length = literal.utf8CodeUnitCount
        guard start + length <= bytes.count else { throw self.error(.unexpectedEnd) }
        let matches = literal.withUTF8Buffer { wanted in
            for offset in 0..<length where bytes[start + offset] != wanted[offset] { return false }
            return true
        }
        guard matches else { throw self.error(.unexpectedByte) }
        self.position += length
        self.append(kind, start: start, flags: [])
    }

    // MARK: Bytes

    private mutating func append(_ kind: JSONKind, start: Int, flags: JSONNodeFlags) {
        self.nodes.append(
            JSONNode(
                start: UInt32(start),
                end: UInt32(self.position),
                next: UInt32(self.nodes.count + 1),
                kind: kind,
                flags: flags
            )
        )
    }

    private mutating func skipSpace(_ bytes: Span<UInt8>) {
        while self.position < bytes.count {
            switch bytes[self.position] {
            case 0x20, 0x0A, 0x0D, 0x09: self.position += 1
            default: return
            }
        }
    }

    /// The first byte that is no white space, which is where the position then stands.
    private mutating func nextToken(_ bytes: Span<UInt8>) throws(JSONError) -> UInt8 {
        self.skipSpace(bytes)
        guard self.position < bytes.count else { throw self.error(.unexpectedEnd) }
        return bytes[self.position]
    }

    private func error(_ reason: JSONError.Reason) -> JSONError { JSONError(reason, at: self.position) }
}
