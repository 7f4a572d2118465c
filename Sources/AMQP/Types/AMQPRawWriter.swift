// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

/// Writes encodings into memory whose size was computed beforehand, for the one path where each check of a buffer's
/// capacity would show: about forty pieces make a message of an event.
///
/// The caller answers for the room; ``TransferRun/send(payloadBytes:write:)`` checks what was written against what was
/// promised.
public struct AMQPRawWriter {
    /// Where the next byte goes.
    public private(set) var next: UnsafeMutableRawPointer

    /// A writer that begins at `start`.
    public init(_ start: UnsafeMutableRawPointer) { next = start }

    /// Writes one integer, most significant byte first.
    @inline(__always)
    public mutating func integer<T: FixedWidthInteger>(_ value: T) {
        next.storeBytes(of: value.bigEndian, as: T.self)
        next += MemoryLayout<T>.size
    }

    /// Copies bytes.
    @inline(__always)
    public mutating func copy(_ bytes: UnsafeRawBufferPointer) {
        guard let start = bytes.baseAddress else { return }
        next.copyMemory(from: start, byteCount: bytes.count)
        next += bytes.count
    }

    /// Writes a descriptor with the given code.
    @inline(__always)
    public mutating func descriptor(_ code: UInt8) {
        integer(UInt16(0x0053))
        integer(code)
    }

    /// Writes a uint.
    @inline(__always)
    public mutating func uint(_ value: UInt32) {
        switch value {
        case 0: integer(TypeCode.uintZero)
        case 1...255: integer(UInt16(TypeCode.uintSmall) << 8 | UInt16(value))
        default:
            integer(TypeCode.uint)
            integer(value)
        }
    }

    /// Writes the header of a map, of ``mapHeaderBytes(items:bytes:)`` bytes.
    @inline(__always)
    public mutating func mapHeader(items: Int, bytes: Int) {
        if bytes <= 254, items <= 255 {
            integer(TypeCode.map8)
            integer(UInt8(bytes + 1))
            integer(UInt8(items))
        } else {
            integer(TypeCode.map32)
            integer(UInt32(bytes + 4))
            integer(UInt32(items))
        }
    }

    /// How many bytes the header of a map takes.
    public static func mapHeaderBytes(items: Int, bytes: Int) -> Int { bytes <= 254 && items <= 255 ? 3 : 9 }

    /// Writes the header of a binary, of ``binaryHeaderBytes(_:)`` bytes.
    @inline(__always)
    public mutating func binaryHeader(_ count: Int) {
        if count <= 255 {
            integer(UInt16(TypeCode.binary8) << 8 | UInt16(count))
        } else {
            integer(TypeCode.binary32)
            integer(UInt32(count))
        }
    }

    /// How many bytes the header of a binary takes.
    public static func binaryHeaderBytes(_ count: Int) -> Int { count <= 255 ? 2 : 5 }

    /// Writes a string of `digits` decimal digits.
    @inline(__always)
    public mutating func decimalString(_ value: UInt64, digits: Int) {
        integer(UInt16(TypeCode.string8) << 8 | UInt16(digits))
        var rest = value
        var index = digits - 1
        while index >= 0 {
            next.storeBytes(of: UInt8(ascii: "0") + UInt8(rest % 10), toByteOffset: index, as: UInt8.self)
            rest /= 10
            index -= 1
        }
        next += digits
    }

    /// How many decimal digits a value has.
    public static func digits(_ value: UInt64) -> Int {
        var digits = 1
        var rest = value / 10
        while rest > 0 {
            digits += 1
            rest /= 10
        }
        return digits
    }
}
