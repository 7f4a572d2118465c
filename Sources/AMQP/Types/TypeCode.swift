// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

/// Constructor bytes of the primitive types (AMQP 1.6).
enum TypeCode {
    static let described: UInt8 = 0x00
    static let null: UInt8 = 0x40
    static let boolean: UInt8 = 0x56
    static let booleanTrue: UInt8 = 0x41
    static let booleanFalse: UInt8 = 0x42
    static let ubyte: UInt8 = 0x50
    static let ushort: UInt8 = 0x60
    static let uint: UInt8 = 0x70
    static let uintSmall: UInt8 = 0x52
    static let uintZero: UInt8 = 0x43
    static let ulong: UInt8 = 0x80
    static let ulongSmall: UInt8 = 0x53
    static let ulongZero: UInt8 = 0x44
    static let byte: UInt8 = 0x51
    static let short: UInt8 = 0x61
    static let int: UInt8 = 0x71
    static let intSmall: UInt8 = 0x54
    static let long: UInt8 = 0x81
    static let longSmall: UInt8 = 0x55
    static let float: UInt8 = 0x72
    static let double: UInt8 = 0x82
    static let decimal32: UInt8 = 0x74
    static let decimal64: UInt8 = 0x84
    static let decimal128: UInt8 = 0x94
    static let char: UInt8 = 0x73
    static let timestamp: UInt8 = 0x83
    static let uuid: UInt8 = 0x98
    static let binary8: UInt8 = 0xa0
    static let binary32: UInt8 = 0xb0
    static let string8: UInt8 = 0xa1
    static let string32: UInt8 = 0xb1
    static let symbol8: UInt8 = 0xa3
    static let symbol32: UInt8 = 0xb3
    static let list0: UInt8 = 0x45
    static let list8: UInt8 = 0xc0
    static let list32: UInt8 = 0xd0
    static let map8: UInt8 = 0xc1
    static let map32: UInt8 = 0xd1
    static let array8: UInt8 = 0xe0
    static let array32: UInt8 = 0xf0
}
