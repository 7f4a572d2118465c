// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

public import NIOCore

/// One value of a document.
///
/// A view: it keeps its document alive and copies nothing.
public struct JSONValue: Sendable {
    /// The document that the value is part of.
    public let document: JSONDocument
    let index: Int

    var node: JSONNode { self.document.nodes[self.index] }

    /// What the value is.
    public var kind: JSONKind { self.node.kind }

    /// Whether the value is the literal `null`.
    public var isNull: Bool { self.node.kind == .null }

    /// The boolean, or nil if the value is something else.
    public var bool: Bool? {
        switch self.node.kind {
        case .true: true
        case .false: false
        default: nil
        }
    }

    /// The string with its escapes resolved, or nil if the value is something else.
    public var string: String? {
        self.node.kind == .string ? self.document.decodedString(self.node) : nil
    }

    /// Whether the value is a string whose text holds escapes.
    public var hasEscapes: Bool { self.node.flags.contains(.escaped) }

    /// How many bytes of UTF-8 the string has with its escapes resolved; 0 if the value is something else.
    public var stringSizeBytes: Int {
        let node = self.node
        guard node.kind == .string else { return 0 }
        guard node.flags.contains(.escaped) else { return Int(node.end - node.start) }
        return self.document.decodedString(node).utf8.count
    }

    /// The text of the number as the peer wrote it, or nil if the value is something else.
    public var numberText: String? {
        self.node.kind == .number ? String(buffer: self.raw) : nil
    }

    /// The number, if it is written as an integer without fraction and exponent and fits.
    public var int: Int64? { self.numberText.flatMap { Int64($0) } }

    /// The number rounded to a double, or nil if the value is something else; huge numbers become infinite.
    public var double: Double? { self.numberText.flatMap { Double($0) } }

    /// The text of the value as it stands in the document, white space inside it included.
    public var raw: ByteBuffer {
        let node = self.node
        guard node.kind == .string else { return self.document.slice(node.start, node.end) }
        return self.document.slice(node.start - 1, node.end + 1)
    }

    /// The value of the member with this name, or nil if there is none or the value is no object.
    ///
    /// Takes time linear in the number of members.
    public subscript(_ name: String) -> JSONValue? {
        guard self.node.kind == .object else { return nil }
        let nodes = self.document.nodes
        let end = Int(nodes[self.index].next)
        var key = self.index + 1
        while key < end {
            let node = nodes[key]
            if !node.flags.contains(.shadowed), self.document.string(node, equals: name) {
                return JSONValue(document: self.document, index: key + 1)
            }
            key = Int(nodes[key + 1].next)
        }
        return nil
    }

    /// The members of an object in their order; empty for other values.
    public var members: JSONMembers { JSONMembers(self) }

    /// The elements of an array in their order; empty for other values.
    public var elements: JSONElements { JSONElements(self) }
}

/// A member of an object.
public struct JSONMember: Sendable {
    let document: JSONDocument
    let key: Int

    /// The name with its escapes resolved.
    public var name: String { self.document.decodedString(self.document.nodes[self.key]) }

    /// Whether the name is this one, without making a string of it.
    public func isNamed(_ name: String) -> Bool {
        self.document.string(self.document.nodes[self.key], equals: name)
    }

    /// Whether the text of the name holds escapes.
    public var hasEscapes: Bool { self.document.nodes[self.key].flags.contains(.escaped) }

    /// How many bytes the name has as it stands in the text, escapes included and quotes not.
    public var rawNameSizeBytes: Int {
        let node = self.document.nodes[self.key]
        return Int(node.end - node.start)
    }

    /// The name as it stands in the text, quotes and escapes included.
    public var rawName: ByteBuffer {
        JSONValue(document: self.document, index: self.key).raw
    }

    /// The value of the member.
    public var value: JSONValue { JSONValue(document: self.document, index: self.key + 1) }
}

/// The members of an object, without those that a later one of the same name replaces.
public struct JSONMembers: Sequence, IteratorProtocol, Sendable {
    let document: JSONDocument
    var key: Int
    let end: Int

    init(_ value: JSONValue) {
        self.document = value.document
        self.key = value.index + 1
        self.end = value.node.kind == .object ? Int(value.node.next) : 0
    }

    /// The next member that counts.
    public mutating func next() -> JSONMember? {
        while self.key < self.end {
            let key = self.key
            self.key = Int(self.document.nodes[key + 1].next)
            if !self.document.nodes[key].flags.contains(.shadowed) {
                return JSONMember(document: self.document, key: key)
            }
        }
        return nil
    }
}

/// The elements of an array.
public struct JSONElements: Sequence, IteratorProtocol, Sendable {
    let document: JSONDocument
    var index: Int
    let end: Int

    init(_ value: JSONValue) {
        self.document = value.document
        self.index = value.index + 1
        self.end = value.node.kind == .array ? Int(value.node.next) : 0
    }

    /// The next element.
    public mutating func next() -> JSONValue? {
        guard self.index < self.end else { return nil }
        let value = JSONValue(document: self.document, index: self.index)
        self.index = Int(self.document.nodes[self.index].next)
        return value
    }
}
