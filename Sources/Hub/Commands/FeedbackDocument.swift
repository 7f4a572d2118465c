// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

public import HubModel
import JSON
public import NIOCore

extension FeedbackRecord {
    /// The body of a feedback message: an array of records, in ASCII (docs/wire/amqp.md#feedback).
    public static func document(_ records: [FeedbackRecord]) -> ByteBuffer {
        var writer = JSONWriter()
        writer.beginArray()
        for record in records {
            writer.beginObject()
            writer.member("originalMessageId", record.messageID)
            // The SDK for C reads the status from here.
            writer.member("description", record.status.rawValue)
            writer.member("deviceGenerationId", record.generationID)
            writer.member("deviceId", record.device)
            writer.member("enqueuedTimeUtc", UTCTime.text(milliseconds: record.milliseconds))
            writer.member("statusCode", record.status.rawValue)
            writer.endObject()
        }
        writer.endArray()
        return writer.buffer.escapedToASCII
    }
}

extension ByteBuffer {
    /// JSON text with every other character as an escape: the SDK for Java shows bytes beyond ASCII in a form of its own.
    fileprivate var escapedToASCII: ByteBuffer {
        guard readableBytesView.contains(where: { $0 >= 0x80 }) else { return self }
        var result = ByteBuffer()
        for scalar in String(buffer: self).unicodeScalars {
            if scalar.isASCII {
                result.writeInteger(UInt8(truncatingIfNeeded: scalar.value))
                continue
            }
            for unit in String(scalar).utf16 {
                let digits = String(unit, radix: 16)
                result.writeString("\\u" + String(repeating: "0", count: 4 - digits.count) + digits)
            }
        }
        return result
    }
}
