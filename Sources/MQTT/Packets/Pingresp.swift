// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

public import NIOCore

/// The answer to PINGREQ. (MQTT 3.13)
public enum Pingresp {
    /// Appends this packet, which has no fields, to a buffer.
    public static func encode(into buffer: inout ByteBuffer) {
        buffer.writeInteger(UInt16(0xD000))
    }
}
