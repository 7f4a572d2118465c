// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import Hub
import NIOCore

/// The list of properties in the last level of a telemetry topic (docs/wire/mqtt.md#property-bag).
///
/// ```
/// bag  = pair *( "&" pair )
/// pair = key [ "=" value ]          ; both percent-encoded UTF-8, "+" stands for itself
/// ```
///
/// Goes straight from the bytes of the topic into the batch: no `String`, and no copy where nothing is encoded.
enum PropertyBag {
    /// Adds the properties of a bag to the message that is being written.
    ///
    /// - Parameters:
    ///   - bag: the bag without the trailing slash.
    ///   - batch: has a message begun.
    ///   - countMax: the limit.
    ///   - isPlugAndPlay: the connection announced a model: only then a component is stamped.
    /// - Returns: false if there are more properties than the limit.
    static func decode(
        _ bag: ByteBuffer,
        into batch: inout TelemetryBatch,
        countMax: Int,
        isPlugAndPlay: Bool
    ) -> Bool {
        guard bag.readableBytes > 0 else { return true }
        return bag.withUnsafeReadableBytes { bytes in
            guard needsRewriting(bytes) else {
                return eachPair(of: bytes, countMax: countMax) { key, value in
                    add(key, value, to: &batch, isPlugAndPlay: isPlugAndPlay)
                }
            }
            // Decoding never makes a text longer.
            return withUnsafeTemporaryAllocation(byteCount: bytes.count, alignment: 1) { scratch in
                eachPair(of: bytes, countMax: countMax) { key, value in
                    let keySize = decode(key, into: scratch, at: 0)
                    let valueSize = decode(value, into: scratch, at: keySize)
                    let decoded = UnsafeRawBufferPointer(scratch)
                    addRepaired(
                        UnsafeRawBufferPointer(rebasing: decoded[..<keySize]),
                        UnsafeRawBufferPointer(rebasing: decoded[keySize..<keySize + valueSize]),
                        to: &batch,
                        isPlugAndPlay: isPlugAndPlay
                    )
                }
            }
        }
    }

    /// Calls a function for each pair, empty ones left out; false if there are more than the limit.
    private static func eachPair(
        of bytes: UnsafeRawBufferPointer,
        countMax: Int,
        _ body: (_ key: UnsafeRawBufferPointer, _ value: UnsafeRawBufferPointer) -> Void
    ) -> Bool {
        var start = 0
        var equals: Int?
        var count = 0
        for index in 0...bytes.count {
            if index < bytes.count, bytes[index] != UInt8(ascii: "&") {
                if equals == nil, bytes[index] == UInt8(ascii: "=") { equals = index }
                continue
            }
            if index > start {
                count += 1
                guard count <= countMax else { return false }
                // A key without `=` has a null value, which readers of events see as an empty one.
                let keyEnd = equals ?? index
                let valueStart = equals.map { $0 + 1 } ?? index
                body(
                    UnsafeRawBufferPointer(rebasing: bytes[start..<keyEnd]),
                    UnsafeRawBufferPointer(rebasing: bytes[valueStart..<index])
                )
            }
            start = index + 1
            equals = nil
        }
        return true
    }

    private static func needsRewriting(_ bytes: UnsafeRawBufferPointer) -> Bool {
        bytes.contains(UInt8(ascii: "%"))
    }

    /// Percent-decodes into a scratch area; a `%` that does not begin a sequence stands for itself.
    ///
    /// - Returns: how many bytes were written.
    private static func decode(
        _ text: UnsafeRawBufferPointer,
        into scratch: UnsafeMutableRawBufferPointer,
        at start: Int
    ) -> Int {
        var out = start
        var index = 0
        while index < text.count {
            var byte = text[index]
            if byte == UInt8(ascii: "%"), index + 2 < text.count, let high = digit(text[index + 1]),
                let low = digit(text[index + 2])
            {
                byte = high << 4 | low
                index += 2
            }
            scratch[out] = byte
            out += 1
            index += 1
        }
        return out - start
    }

    private static func digit(_ byte: UInt8) -> UInt8? {
        switch byte {
        case UInt8(ascii: "0")...UInt8(ascii: "9"): byte - UInt8(ascii: "0")
        case UInt8(ascii: "a")...UInt8(ascii: "f"): byte - UInt8(ascii: "a") + 10
        case UInt8(ascii: "A")...UInt8(ascii: "F"): byte - UInt8(ascii: "A") + 10
        default: nil
        }
    }

    /// Adds a decoded pair; what decoding made ill-formed is repaired, for AMQP strings are UTF-8.
    private static func addRepaired(
        _ key: UnsafeRawBufferPointer,
        _ value: UnsafeRawBufferPointer,
        to batch: inout TelemetryBatch,
        isPlugAndPlay: Bool
    ) {
        // The topic was well-formed, so ASCII that decodes to ASCII can't be otherwise.
        if isWellFormed(key), isWellFormed(value) {
            add(key, value, to: &batch, isPlugAndPlay: isPlugAndPlay)
        } else {
            let repairedKey = Array(String(decoding: key, as: UTF8.self).utf8)
            let repairedValue = Array(String(decoding: value, as: UTF8.self).utf8)
            repairedKey.withUnsafeBytes { key in
                repairedValue.withUnsafeBytes { value in
                    add(key, value, to: &batch, isPlugAndPlay: isPlugAndPlay)
                }
            }
        }
    }

    private static func isWellFormed(_ text: UnsafeRawBufferPointer) -> Bool {
        text.allSatisfy { $0 < 0x80 } || String(validating: text, as: UTF8.self) != nil
    }

    /// Adds a pair: a system property by its table, else an application property.
    private static func add(
        _ key: UnsafeRawBufferPointer,
        _ value: UnsafeRawBufferPointer,
        to batch: inout TelemetryBatch,
        isPlugAndPlay: Bool
    ) {
        switch SystemKey(key) {
        case .application:
            batch.applicationProperty(key, value)
        case .component:
            if isPlugAndPlay { batch.systemProperty(.component, value) }
        case .expiry:
            // What is not a time is left out: no client reads back why a message was refused.
            if let milliseconds = Timestamp.milliseconds(value) { batch.absoluteExpiryTime(milliseconds) }
        case .symbol(let property):
            addSymbol(property, value, to: &batch)
        case .system(let property):
            batch.systemProperty(property, value)
        case .named(let name):
            batch.applicationProperty(
                UnsafeRawBufferPointer(start: name.utf8Start, count: name.utf8CodeUnitCount),
                value
            )
        case .ignored:
            break
        }
    }

    /// Adds a property that AMQP carries as a symbol, which is ASCII.
    private static func addSymbol(
        _ property: SystemProperty,
        _ value: UnsafeRawBufferPointer,
        to batch: inout TelemetryBatch
    ) {
        guard value.contains(where: { $0 >= 0x80 }) else { return batch.systemProperty(property, value) }
        let ascii = value.map { $0 < 0x80 ? $0 : UInt8(ascii: "?") }
        ascii.withUnsafeBytes { batch.systemProperty(property, $0) }
    }
}
