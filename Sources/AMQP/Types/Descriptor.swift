// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

/// Descriptor codes of the standard's composite types.
enum Descriptor {
    static let open: UInt8 = 0x10
    static let begin: UInt8 = 0x11
    static let attach: UInt8 = 0x12
    static let flow: UInt8 = 0x13
    static let transfer: UInt8 = 0x14
    static let disposition: UInt8 = 0x15
    static let detach: UInt8 = 0x16
    static let end: UInt8 = 0x17
    static let close: UInt8 = 0x18
    static let error: UInt8 = 0x1d
    static let received: UInt8 = 0x23
    static let accepted: UInt8 = 0x24
    static let rejected: UInt8 = 0x25
    static let released: UInt8 = 0x26
    static let modified: UInt8 = 0x27
    static let source: UInt8 = 0x28
    static let target: UInt8 = 0x29
    static let saslMechanisms: UInt8 = 0x40
    static let saslInit: UInt8 = 0x41
    static let saslChallenge: UInt8 = 0x42
    static let saslResponse: UInt8 = 0x43
    static let saslOutcome: UInt8 = 0x44
    static let header: UInt8 = 0x70
    static let deliveryAnnotations: UInt8 = 0x71
    static let messageAnnotations: UInt8 = 0x72
    static let properties: UInt8 = 0x73
    static let applicationProperties: UInt8 = 0x74
    static let data: UInt8 = 0x75
    static let amqpSequence: UInt8 = 0x76
    static let amqpValue: UInt8 = 0x77
    static let footer: UInt8 = 0x78

    /// The symbolic descriptors, which a receiver must understand as well (AMQP 1.3).
    private static let symbols: [String: UInt8] = [
        "amqp:open:list": open, "amqp:begin:list": begin, "amqp:attach:list": attach, "amqp:flow:list": flow,
        "amqp:transfer:list": transfer, "amqp:disposition:list": disposition, "amqp:detach:list": detach,
        "amqp:end:list": end, "amqp:close:list": close, "amqp:error:list": error, "amqp:received:list": received,
        "amqp:accepted:list": accepted, "amqp:rejected:list": rejected, "amqp:released:list": released,
        "amqp:modified:list": modified, "amqp:source:list": source, "amqp:target:list": target,
        "amqp:sasl-mechanisms:list": saslMechanisms, "amqp:sasl-init:list": saslInit,
        "amqp:sasl-challenge:list": saslChallenge, "amqp:sasl-response:list": saslResponse,
        "amqp:sasl-outcome:list": saslOutcome, "amqp:header:list": header,
        "amqp:delivery-annotations:map": deliveryAnnotations, "amqp:message-annotations:map": messageAnnotations,
        "amqp:properties:list": properties, "amqp:application-properties:map": applicationProperties,
        "amqp:data:binary": data, "amqp:amqp-sequence:list": amqpSequence, "amqp:amqp-value:*": amqpValue,
        "amqp:footer:map": footer,
    ]

    /// The code that a symbolic descriptor stands for.
    static func code(_ symbol: String) throws(AMQPDecodeError) -> UInt64 {
        guard let code = symbols[symbol] else { throw .unknownDescriptor }
        return UInt64(code)
    }
}
