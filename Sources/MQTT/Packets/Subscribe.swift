// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

public import NIOCore

/// A client's wish for topics. (MQTT 3.8)
public struct Subscribe: Hashable, Sendable {
    /// One filter and the QoS asked for it.
    public struct Request: Hashable, Sendable {
        /// A valid topic filter.
        public var filter: String
        /// The highest QoS that the client wants.
        public var qos: QoS

        /// A filter with its QoS.
        public init(filter: String, qos: QoS) {
            self.filter = filter
            self.qos = qos
        }
    }

    /// The packet id, never 0.
    public var packetID: UInt16
    /// What is asked for, at least one.
    public var requests: [Request]

    /// A SUBSCRIBE to be sent.
    public init(packetID: UInt16, requests: [Request]) {
        self.packetID = packetID
        self.requests = requests
    }

    static func decode(
        body: inout ByteBuffer,
        limits: MQTTLimits,
        toleratesWildcards: Bool
    ) throws(MQTTError) -> Subscribe {
        var packet = Subscribe(packetID: try body.readPacketID(), requests: [])
        while body.readableBytes > 0 {
            guard packet.requests.count < limits.filtersPerPacketMax else { throw .listTooLong }
            let filter = try body.readTopicFilter(toleratesWildcards: toleratesWildcards)  // [MQTT-3.8.3-1]
            guard let raw = body.readInteger(as: UInt8.self) else { throw .fieldTruncated }
            guard let qos = QoS(rawValue: raw) else { throw .qosInvalid }  // [MQTT-3.8.3-4]
            packet.requests.append(Request(filter: filter, qos: qos))
        }
        guard !packet.requests.isEmpty else { throw .listEmpty }  // [MQTT-3.8.3-3]
        return packet
    }

    /// Appends this packet to a buffer.
    ///
    /// - Throws: `valueTooLong`, `listEmpty`, `packetIDZero`.
    public func encode(into buffer: inout ByteBuffer) throws(MQTTError) {
        guard packetID != 0 else { throw .packetIDZero }
        guard !requests.isEmpty else { throw .listEmpty }
        let size = requests.reduce(2) { $0 + 3 + $1.filter.utf8.count }
        try buffer.writeFixedHeader(.subscribe, remainingLength: size)
        buffer.writeInteger(packetID)
        for request in requests {
            try buffer.writeText(request.filter)
            buffer.writeInteger(request.qos.rawValue)
        }
    }
}
