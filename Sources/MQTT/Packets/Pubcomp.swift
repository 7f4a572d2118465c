// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

public import NIOCore

/// The last step of QoS 2: complete. (MQTT 3.7)
public struct Pubcomp: Hashable, Sendable {
    /// The packet id of what is answered, never 0.
    public var packetID: UInt16

    /// A packet to be sent.
    public init(packetID: UInt16) {
        self.packetID = packetID
    }

    static func decode(body: inout ByteBuffer) throws(MQTTError) -> Pubcomp {
        Pubcomp(packetID: try body.readPacketID())
    }

    /// Appends this packet to a buffer.
    public func encode(into buffer: inout ByteBuffer) {
        buffer.writeInteger(0x7002_0000 | UInt32(packetID))
    }
}
