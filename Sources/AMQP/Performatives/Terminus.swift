// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import NIOCore

/// What a source and a target have in common: their first six fields (AMQP 3.5.3, 3.5.4).
protocol Terminus {
    var address: String? { get set }
    var durable: UInt32? { get set }
    var expiryPolicy: String? { get set }
    var timeout: UInt32? { get set }
    var dynamic: Bool? { get set }
    var dynamicNodeProperties: AMQPMap? { get set }
}

extension Terminus {
    mutating func readFirstFields(_ fields: inout CompositeReader) throws(AMQPDecodeError) {
        address = try fields.text()
        durable = try fields.uint()
        expiryPolicy = try fields.symbol()
        timeout = try fields.uint()
        dynamic = try fields.bool()
        dynamicNodeProperties = try fields.map()
    }

    func writeFirstFields(to buffer: inout ByteBuffer) {
        buffer.writeAMQPString(address)
        buffer.writeAMQPUInt(durable)
        buffer.writeAMQPSymbol(expiryPolicy)
        buffer.writeAMQPUInt(timeout)
        buffer.writeAMQPBool(dynamic)
        buffer.writeAMQPMap(dynamicNodeProperties)
    }
}
