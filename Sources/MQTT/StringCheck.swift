// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import NIOCore

/// What a UTF-8 encoded string of the wire may be. (MQTT 1.5.3)
///
/// Topics of PUBLISH are checked on the data path, so ASCII goes eight bytes at a time and nothing is copied.
enum StringCheck {
    /// What was found in a string.
    enum Finding {
        /// Well-formed and without a wildcard.
        case plain
        /// Well-formed, with a `+` or a `#` somewhere.
        case wildcard
        /// Ill-formed, or with U+0000.
        case invalid
    }

    /// Looks at every byte of a string.
    static func check(_ bytes: UnsafeRawBufferPointer) -> Finding {
        var index = 0
        var finding = Finding.plain
        let count = bytes.count
        while index < count {
            while count - index >= 8 {
                let word = bytes.loadUnaligned(fromByteOffset: index, as: UInt64.self)
                let special = zeroBytes(word) | zeroBytes(word ^ plus) | zeroBytes(word ^ hash)
                guard (word | special) & highBits == 0 else { break }
                index += 8
            }
            guard index < count else { break }
            let byte = bytes[index]
            switch byte {
            case 0: return .invalid  // [MQTT-1.5.3-2]
            case UInt8(ascii: "+"), UInt8(ascii: "#"):
                finding = .wildcard
                index += 1
            case 1..<0x80: index += 1
            default:
                let size = sequenceSize(bytes, at: index)
                guard size > 0 else { return .invalid }  // [MQTT-1.5.3-1]
                index += size
            }
        }
        return finding
    }

    private static let highBits: UInt64 = 0x8080_8080_8080_8080
    private static let plus: UInt64 = 0x2B2B_2B2B_2B2B_2B2B
    private static let hash: UInt64 = 0x2323_2323_2323_2323

    /// Has a high bit set if a byte of the word is zero; bytes over 0x7F are caught by the caller.
    private static func zeroBytes(_ word: UInt64) -> UInt64 {
        (word &- 0x0101_0101_0101_0101) & ~word & highBits
    }

    /// The size of the well-formed sequence of two to four bytes at an index, 0 if there is none.
    ///
    /// Table 3-7 of the Unicode standard: no overlong form, no surrogate (U+D800 to U+DFFF), nothing over U+10FFFF.
    private static func sequenceSize(_ bytes: UnsafeRawBufferPointer, at index: Int) -> Int {
        let lead = bytes[index]
        let size: Int
        var second: ClosedRange<UInt8> = 0x80...0xBF
        switch lead {
        case 0xC2...0xDF: size = 2
        case 0xE0: (size, second) = (3, 0xA0...0xBF)
        case 0xED: (size, second) = (3, 0x80...0x9F)
        case 0xE1...0xEF: size = 3
        case 0xF0: (size, second) = (4, 0x90...0xBF)
        case 0xF4: (size, second) = (4, 0x80...0x8F)
        case 0xF1...0xF3: size = 4
        default: return 0
        }
        guard index + size <= bytes.count, second.contains(bytes[index + 1]) else { return 0 }
        for offset in 2..<max(size, 2) where bytes[index + offset] & 0xC0 != 0x80 {
            return 0
        }
        return size
    }
}

extension ByteBuffer {
    /// Looks at all readable bytes as one string.
    func checkString() -> StringCheck.Finding {
        withUnsafeReadableBytes { StringCheck.check($0) }
    }

    /// Reads a length-prefixed run of bytes.
    mutating func readField() throws(MQTTError) -> ByteBuffer {
        guard let field = readLengthPrefixedSlice(as: UInt16.self) else { throw .fieldTruncated }
        return field
    }

    /// Reads a length-prefixed string, checked.
    mutating func readText() throws(MQTTError) -> String {
        let field = try readField()
        guard field.checkString() != .invalid else { throw .stringInvalid }
        return String(buffer: field)
    }

    /// Reads a topic filter, checked; where its wildcards stand is left to the caller where it wants that.
    mutating func readTopicFilter(toleratesWildcards: Bool) throws(MQTTError) -> String {
        let field = try readField()
        guard field.checkString() != .invalid else { throw .stringInvalid }
        let isValid = field.withUnsafeReadableBytes { TopicFilter.isValid($0) }
        guard isValid || toleratesWildcards && field.readableBytes > 0 else { throw .topicFilterInvalid }
        return String(buffer: field)
    }

    /// Reads a packet id, which is never 0. [MQTT-2.3.1-1]
    mutating func readPacketID() throws(MQTTError) -> UInt16 {
        guard let id = readInteger(as: UInt16.self) else { throw .fieldTruncated }
        guard id != 0 else { throw .packetIDZero }
        return id
    }

    /// Throws if bytes are left.
    func expectEnd() throws(MQTTError) {
        guard readableBytes == 0 else { throw .trailingBytes }
    }

    /// Writes a length-prefixed string.
    mutating func writeText(_ text: String) throws(MQTTError) {
        let count = text.utf8.count
        guard count <= Int(UInt16.max) else { throw .valueTooLong }
        writeInteger(UInt16(count))
        writeString(text)
    }

    /// Writes a length-prefixed run of bytes.
    mutating func writeField(_ field: ByteBuffer) throws(MQTTError) {
        guard field.readableBytes <= Int(UInt16.max) else { throw .valueTooLong }
        writeInteger(UInt16(field.readableBytes))
        writeImmutableBuffer(field)
    }
}
