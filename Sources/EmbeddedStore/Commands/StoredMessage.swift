// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import FoundationEssentials
import HubModel
import NIOCore

/// A command's message as bytes: all of it but what has columns of its own.
///
/// A format byte, then five texts and the user id, each a length of 4 bytes (-1 for none) and its bytes; the expiry that
/// was sent, a byte that says whether there is one and 8 bytes; a count of 4 bytes and as many pairs of texts; and the
/// body, to the end.
enum StoredMessage {
    private static let format: UInt8 = 1

    static func data(_ message: CommandMessage) -> Data {
        var buffer = ByteBuffer()
        buffer.reserveCapacity(message.size + 128)
        buffer.writeInteger(self.format)
        self.write(message.correlationID?.utf8, to: &buffer)
        self.write(message.to.utf8, to: &buffer)
        self.write(message.contentType?.utf8, to: &buffer)
        self.write(message.contentEncoding?.utf8, to: &buffer)
        self.write(message.userID, to: &buffer)
        buffer.writeInteger(UInt8(message.expiresMilliseconds == nil ? 0 : 1))
        buffer.writeInteger(message.expiresMilliseconds ?? 0)
        buffer.writeInteger(Int32(message.properties.count))
        for property in message.properties {
            self.write(property.name.utf8, to: &buffer)
            self.write(property.value.utf8, to: &buffer)
        }
        buffer.writeImmutableBuffer(message.body)
        return Data(buffer.readableBytesView)
    }

    /// Reads a message back; nil where the bytes are none.
    static func message(
        _ data: Data,
        messageID: String?,
        acknowledgement: FeedbackMode
    ) -> CommandMessage? {
        var buffer = ByteBuffer(bytes: data)
        guard buffer.readInteger(as: UInt8.self) == self.format,
            let correlationID = self.readText(from: &buffer),
            let to = self.readText(from: &buffer) ?? nil,
            let contentType = self.readText(from: &buffer),
            let contentEncoding = self.readText(from: &buffer),
            let userID = self.readBytes(from: &buffer),
            let hasExpiry = buffer.readInteger(as: UInt8.self),
            let expiry = buffer.readInteger(as: Int64.self),
            let count = buffer.readInteger(as: Int32.self)
        else { return nil }
        var message = CommandMessage(
            messageID: messageID,
            correlationID: correlationID,
            userID: userID.map { Array($0.readableBytesView) },
            to: to,
            contentType: contentType,
            contentEncoding: contentEncoding,
            expiresMilliseconds: hasExpiry == 0 ? nil : expiry,
            acknowledgement: acknowledgement,
            body: ByteBuffer()
        )
        for _ in 0..<max(0, count) {
            guard let name = self.readText(from: &buffer) ?? nil, let value = self.readText(from: &buffer) ?? nil
            else { return nil }
            message.properties.append(MessageProperty(name: name, value: value))
        }
        message.body = buffer
        return message
    }

    private static func write(_ bytes: (some Collection<UInt8>)?, to buffer: inout ByteBuffer) {
        guard let bytes else {
            buffer.writeInteger(Int32(-1))
            return
        }
        buffer.writeInteger(Int32(bytes.count))
        buffer.writeBytes(bytes)
    }

    /// Reads bytes: nil where there are none to be read, an inner nil where none were written.
    private static func readBytes(from buffer: inout ByteBuffer) -> ByteBuffer?? {
        guard let count = buffer.readInteger(as: Int32.self) else { return nil }
        guard count >= 0 else { return .some(nil) }
        guard let slice = buffer.readSlice(length: Int(count)) else { return nil }
        return .some(slice)
    }

    private static func readText(from buffer: inout ByteBuffer) -> String?? {
        guard let bytes = self.readBytes(from: &buffer) else { return nil }
        return .some(bytes.map { String(buffer: $0) })
    }
}
