// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import NIOCore

/// The few AMQP 1.0 encodings that stored events are made of (AMQP 1.6).
extension ByteBuffer {
    mutating func writeAMQPSymbol(_ text: String) {
        writeAMQPVariable(Array(text.utf8), short: 0xa3, long: 0xb3)
    }

    mutating func writeAMQPString(_ text: String) {
        writeAMQPVariable(Array(text.utf8), short: 0xa1, long: 0xb1)
    }

    /// Writes bytes behind the constructor of a variable-width type, the short one where they fit it.
    mutating func writeAMQPVariable(_ bytes: some Collection<UInt8>, short: UInt8, long: UInt8) {
        if bytes.count <= 255 {
            writeInteger(UInt16(short) << 8 | UInt16(bytes.count))
        } else {
            writeInteger(long)
            writeInteger(UInt32(bytes.count))
        }
        writeBytes(bytes)
    }

    mutating func writeAMQPTimestamp(_ milliseconds: Int64) {
        writeInteger(UInt8(0x83))
        writeInteger(milliseconds)
    }
}
