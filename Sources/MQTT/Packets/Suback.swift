// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

public import NIOCore

/// The answer to SUBSCRIBE. (MQTT 3.9)
public struct Suback: Hashable, Sendable {
    /// The return code of a filter that was refused.
    public static let failure: UInt8 = 0x80

    /// The packet id of the SUBSCRIBE.
    public var packetID: UInt16
    /// Granted QoS or `failure`, one for each filter, in order. [MQTT-3.9.3-1]
    public var returnCodes: [UInt8]

    /// An answer to be sent.
    public init(packetID: UInt16, returnCodes: [UInt8]) {
        self.packetID = packetID
        self.returnCodes = returnCodes
    }

    static func decode(body: inout ByteBuffer) throws(MQTTError) -> Suback {
        let id = try body.readPacketID()
        guard let codes = body.readBytes(length: body.readableBytes), !codes.isEmpty else { throw .listEmpty }
        // [MQTT-3.9.3-2]
        guard codes.allSatisfy({ $0 <= 2 || $0 == failure }) else { throw .returnCodeInvalid }
        return Suback(packetID: id, returnCodes: codes)
    }

    /// Appends this packet to a buffer.
    ///
    /// - Throws: `valueTooLong`, `listEmpty`.
    public func encode(into buffer: inout ByteBuffer) throws(MQTTError) {
        guard !returnCodes.isEmpty else { throw .listEmpty }
        try buffer.writeFixedHeader(.suback, remainingLength: 2 + returnCodes.count)
        buffer.writeInteger(packetID)
        buffer.writeBytes(returnCodes)
    }
}
