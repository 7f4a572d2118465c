// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

public import NIOCore

/// The answer to UNSUBSCRIBE. (MQTT 3.11)
public struct Unsuback: Hashable, Sendable {
    /// The packet id of what is answered, never 0.
    public var packetID: UInt16

    /// A packet to be sent.
    public init(packetID: UInt16) {
        self.packetID = packetID
    }

    static func decode(body: inout ByteBuffer) throws(MQTTError) -> Unsuback {
        Unsuback(packetID: try body.readPacketID())
    }

    /// Appends this packet to a buffer.
    public func encode(into buffer: inout ByteBuffer) {
        buffer.writeInteger(0xB002_0000 | UInt32(packetID))
    }
}
