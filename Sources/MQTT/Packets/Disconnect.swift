// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

public import NIOCore

/// A client's goodbye; its will is discarded. (MQTT 3.14)
public enum Disconnect {
    /// Appends this packet, which has no fields, to a buffer.
    public static func encode(into buffer: inout ByteBuffer) {
        buffer.writeInteger(UInt16(0xE000))
    }
}
