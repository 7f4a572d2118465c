// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

public import NIOCore

/// A parsed JSON text: the text itself and a flat tape of where its values are.
///
/// Nothing is decoded before it is asked for: numbers keep their text, strings their escapes, objects the order of their
/// members. Of members with the same name the last counts; the earlier ones can't be reached and are not written.
public struct JSONDocument: Sendable {
    /// Text and tape behind one reference, because each value that is looked at holds its document.
    private final class Storage: Sendable {
        let text: ByteBuffer
        let nodes: [JSONNode]

        init(text: ByteBuffer, nodes: [JSONNode]) {
            self.text = text
            self.nodes = nodes
        }
    }

    private let storage: Storage

    /// The text that was parsed.
    public var text: ByteBuffer { self.storage.text }
    var nodes: [JSONNode] { self.storage.nodes }

    /// Parses a whole text strictly by RFC 8259, in time linear in its length and without recursion.
    ///
    /// - Parameters:
    ///   - text: UTF-8 without a byte order mark; its readable bytes are kept, not copied
    ///   - limits: the bounds that the text must keep
    /// - Throws: `JSONError` for what is not JSON, or too large, or too deep
    public init(parsing text: ByteBuffer, limits: JSONLimits = JSONLimits()) throws(JSONError) {
        guard text.readableBytes <= limits.bytesMax else { throw JSONError(.tooLarge, at: limits.bytesMax) }
        let slice = text.slice()
        var parser = JSONParser(depthMax: limits.depthMax, sizeBytes: slice.readableBytes)
        try parser.parse(slice.readableBytesUInt8Span)
        self.storage = Storage(text: slice, nodes: parser.nodes)
    }

    /// Parses a text given as a string.
    ///
    /// - Throws: `JSONError` as the initializer for bytes does
    public init(parsing text: String, limits: JSONLimits = JSONLimits()) throws(JSONError) {
        try self.init(parsing: ByteBuffer(string: text), limits: limits)
    }

    /// The value that the text is.
    public var root: JSONValue { JSONValue(document: self, index: 0) }

    /// The text between two offsets, as a slice that shares its storage.
    func slice(_ start: UInt32, _ end: UInt32) -> ByteBuffer {
        self.text.getSlice(at: self.text.readerIndex + Int(start), length: Int(end - start)) ?? ByteBuffer()
    }

    /// Whether a string of the tape equals a name, both decoded.
    func string(_ node: JSONNode, equals name: String) -> Bool {
        guard !node.flags.contains(.escaped) else { return self.decodedString(node).utf8.elementsEqual(name.utf8) }
        let length = Int(node.end - node.start)
        var name = name
        return name.withUTF8 { wanted in
            guard wanted.count == length else { return false }
            let bytes = self.text.readableBytesUInt8Span
            for offset in 0..<length where bytes[Int(node.start) + offset] != wanted[offset] { return false }
            return true
        }
    }

    /// A string of the tape with its escapes resolved.
    func decodedString(_ node: JSONNode) -> String {
        let slice = self.slice(node.start, node.end)
        guard node.flags.contains(.escaped) else { return String(buffer: slice) }
        return JSONText.unescaped(slice.readableBytesUInt8Span)
    }
}
