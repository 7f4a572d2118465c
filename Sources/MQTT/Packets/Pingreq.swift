// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

public import NIOCore

/// A client's sign of life. (MQTT 3.12)
public enum Pingreq {
    /// Appends this packet, which has no fields, to a buffer.
    public static func encode(into buffer: inout ByteBuffer) {
        buffer.writeInteger(UInt16(0xC000))
    }
}
