// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

public import NIOCore

/// A client's wish to give up topics. (MQTT 3.10)
public struct Unsubscribe: Hashable, Sendable {
    /// The packet id, never 0.
    public var packetID: UInt16
    /// The filters to give up, at least one.
    public var filters: [String]

    /// An UNSUBSCRIBE to be sent.
    public init(packetID: UInt16, filters: [String]) {
        self.packetID = packetID
        self.filters = filters
    }

    static func decode(
        body: inout ByteBuffer,
        limits: MQTTLimits,
        toleratesWildcards: Bool
    ) throws(MQTTError) -> Unsubscribe {
        var packet = Unsubscribe(packetID: try body.readPacketID(), filters: [])
        while body.readableBytes > 0 {
            guard packet.filters.count < limits.filtersPerPacketMax else { throw .listTooLong }
            packet.filters.append(try body.readTopicFilter(toleratesWildcards: toleratesWildcards))  // [MQTT-3.10.3-1]
        }
        guard !packet.filters.isEmpty else { throw .listEmpty }  // [MQTT-3.10.3-2]
        return packet
    }

    /// Appends this packet to a buffer.
    ///
    /// - Throws: `valueTooLong`, `listEmpty`, `packetIDZero`.
    public func encode(into buffer: inout ByteBuffer) throws(MQTTError) {
        guard packetID != 0 else { throw .packetIDZero }
        guard !filters.isEmpty else { throw .listEmpty }
        try buffer.writeFixedHeader(.unsubscribe, remainingLength: filters.reduce(2) { $0 + 2 + $1.utf8.count })
        buffer.writeInteger(packetID)
        for filter in filters { try buffer.writeText(filter) }
    }
}
