// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

public import NIOCore

/// Writes one JSON text, member by member, into a buffer.
///
/// Commas are placed by the writer; that containers are closed and names are followed by values is the caller's part.
public struct JSONWriter: Sendable {
    /// What has been written.
    public private(set) var buffer: ByteBuffer
    private var needsComma = false

    /// A writer that appends to a buffer.
    public init(buffer: ByteBuffer = ByteBuffer()) {
        self.buffer = buffer
    }

    /// Opens an object.
    public mutating func beginObject() { self.open(UInt8(ascii: "{")) }

    /// Closes the innermost object.
    public mutating func endObject() { self.close(UInt8(ascii: "}")) }

    /// Opens an array.
    public mutating func beginArray() { self.open(UInt8(ascii: "[")) }

    /// Closes the innermost array.
    public mutating func endArray() { self.close(UInt8(ascii: "]")) }

    /// Writes the name of the member whose value comes next.
    public mutating func name(_ name: String) {
        self.separate()
        self.writeQuoted(name)
        self.buffer.writeInteger(UInt8(ascii: ":"))
        self.needsComma = false
    }

    /// Writes the name of the member whose value comes next, quotes and escapes as given.
    public mutating func rawName(_ name: ByteBuffer) {
        self.separate()
        self.buffer.writeImmutableBuffer(name)
        self.buffer.writeInteger(UInt8(ascii: ":"))
        self.needsComma = false
    }

    /// Writes a string, or `null` for nil.
    public mutating func string(_ value: String?) {
        guard let value else { return self.null() }
        self.separate()
        self.writeQuoted(value)
        self.needsComma = true
    }

    /// Writes an integer.
    public mutating func int(_ value: some FixedWidthInteger) {
        self.scalar(String(value))
    }

    /// Writes a boolean.
    public mutating func bool(_ value: Bool) { self.scalar(value ? "true" : "false") }

    /// Writes `null`.
    public mutating func null() { self.scalar("null") }

    /// Writes a text that is JSON already.
    public mutating func raw(_ text: ByteBuffer) {
        self.separate()
        self.buffer.writeImmutableBuffer(text)
        self.needsComma = true
    }

    /// Writes a value of a document: its text as it stands, unless members of it are replaced by later ones.
    public mutating func value(_ value: JSONValue) {
        guard value.node.flags.contains(.containsShadowed) else { return self.raw(value.raw) }
        self.rewrite(value, compact: false)
    }

    /// Writes a value of a document without the white space between its tokens.
    public mutating func compactValue(_ value: JSONValue) { self.rewrite(value, compact: true) }

    /// Writes a member whose value is a string, or `null` for nil.
    public mutating func member(_ name: String, _ value: String?) {
        self.name(name)
        self.string(value)
    }

    /// Writes a member whose value is an integer.
    public mutating func member(_ name: String, _ value: some FixedWidthInteger) {
        self.name(name)
        self.int(value)
    }

    /// Writes a member whose value is a boolean.
    public mutating func member(_ name: String, _ value: Bool) {
        self.name(name)
        self.bool(value)
    }

    // MARK: Parts

    private mutating func open(_ byte: UInt8) {
        self.separate()
        self.buffer.writeInteger(byte)
        self.needsComma = false
    }

    private mutating func close(_ byte: UInt8) {
        self.buffer.writeInteger(byte)
        self.needsComma = true
    }

    private mutating func scalar(_ text: String) {
        self.separate()
        self.buffer.writeString(text)
        self.needsComma = true
    }

    private mutating func separate() {
        if self.needsComma { self.buffer.writeInteger(UInt8(ascii: ",")) }
    }

    /// Walks the tape of a value with a list of open containers instead of recursion.
    private mutating func rewrite(_ value: JSONValue, compact: Bool) {
        let nodes = value.document.nodes
        let last = Int(nodes[value.index].next)
        var open: [(end: Int, isObject: Bool)] = []
        var index = value.index
        while true {
            while let container = open.last, index == container.end {
                open.removeLast()
                container.isObject ? self.endObject() : self.endArray()
            }
            guard index < last else { return }
            if open.last?.isObject == true {
                guard !nodes[index].flags.contains(.shadowed) else {
                    index = Int(nodes[index + 1].next)
                    continue
                }
                self.rawName(JSONValue(document: value.document, index: index).raw)
                index += 1
            }
            let node = nodes[index]
            let isContainer = node.kind == .object || node.kind == .array
            guard isContainer, compact || node.flags.contains(.containsShadowed) else {
                self.raw(JSONValue(document: value.document, index: index).raw)
                index = Int(node.next)
                continue
            }
            node.kind == .object ? self.beginObject() : self.beginArray()
            open.append((Int(node.next), node.kind == .object))
            index += 1
        }
    }

    private mutating func writeQuoted(_ text: String) {
        var text = text
        self.buffer.writeInteger(JSONText.quote)
        text.withUTF8 { bytes in
            var clean = 0
            for (index, byte) in bytes.enumerated()
            where byte < 0x20 || byte == JSONText.quote || byte == JSONText.backslash {
                self.buffer.writeBytes(bytes[clean..<index])
                self.writeEscape(byte)
                clean = index + 1
            }
            self.buffer.writeBytes(bytes[clean...])
        }
        self.buffer.writeInteger(JSONText.quote)
    }

    private mutating func writeEscape(_ byte: UInt8) {
        self.buffer.writeInteger(JSONText.backslash)
        switch byte {
        case JSONText.quote, JSONText.backslash: self.buffer.writeInteger(byte)
        case 0x0A: self.buffer.writeInteger(UInt8(ascii: "n"))
        case 0x0D: self.buffer.writeInteger(UInt8(ascii: "r"))
        case 0x09: self.buffer.writeInteger(UInt8(ascii: "t"))
        default:
            let digits = String(byte, radix: 16, uppercase: true)
            self.buffer.writeString(digits.utf8.count == 1 ? "u000\(digits)" : "u00\(digits)")
        }
    }
}
