// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import AMQP
import Hub
import HubModel
import NIOCore

/// The format of a delivery that holds several messages, each in a data section of its own.
let batchMessageFormat: UInt32 = 0x8001_3700

/// What holds for the messages of one link.
struct TelemetryRules {
    /// The largest batch, as messages are measured.
    var sizeMax: Int
    /// Application properties of one message.
    var propertiesMax: Int
    /// Whether the sender announced a model: only then is a component of it stamped.
    var isPlugAndPlay: Bool
}

// From a delivery of a device to records of events (docs/wire/amqp.md#telemetry): its bytes are walked once, and what
// is kept of them is copied once.
extension TelemetryBatch {
    /// Adds the message or the messages of a delivery; where it returns an error, none of them.
    mutating func add(_ delivery: IncomingDelivery, _ rules: TelemetryRules) -> AMQPError? {
        let mark = mark
        let error: AMQPError?
        if delivery.messageFormat == batchMessageFormat {
            error = addBatch(delivery.payload, rules)
        } else {
            error = addMessage(delivery.payload, rules)
        }
        if error != nil { takeBack(to: mark) }
        return error
    }

    private mutating func addBatch(_ payload: ByteBuffer, _ rules: TelemetryRules) -> AMQPError? {
        var size = 0
        var isReadable = true
        var messages: [ByteBuffer] = []
        payload.withUnsafeReadableBytes { bytes in
            var reader = RawReader(bytes)
            while !reader.isAtEnd, isReadable {
                let code = reader.descriptor()
                guard let code, let value = reader.next() else {
                    isReadable = false
                    break
                }
                // Nothing of the envelope matters but its data sections.
                guard code == 0x75 else { continue }
                let start = payload.readerIndex + reader.index - (value.binary?.count ?? 0)
                guard let message = value.binary.flatMap({ payload.getSlice(at: start, length: $0.count) }) else {
                    isReadable = false
                    break
                }
                messages.append(message)
            }
        }
        guard isReadable else { return .unreadableMessage }
        for message in messages {
            if let error = addMessage(message, rules) { return error }
            size += messageSize
            guard size <= rules.sizeMax else { return .messageTooLarge(rules.sizeMax) }
        }
        return nil
    }

    private mutating func addMessage(_ payload: ByteBuffer, _ rules: TelemetryRules) -> AMQPError? {
        begin()
        var sections = TelemetrySections(rules)
        let error = payload.withUnsafeReadableBytes { sections.add($0, to: &self) }
        if let error {
            abandon()
            return error
        }
        return finish(body: sections.body(of: payload)) ? nil : .messageTooLarge(rules.sizeMax)
    }
}

extension AMQPError {
    static let unreadableMessage = AMQPError(.decodeError, "The message cannot be decoded.")

    static func messageTooLarge(_ sizeMax: Int) -> AMQPError {
        AMQPError(.messageSizeExceeded, "Message is larger than \(sizeMax) bytes.")
    }
}

/// The sections of one message of a device, in any order.
private struct TelemetrySections {
    private let rules: TelemetryRules
    private var propertyCount = 0
    /// Where the body's bytes lie in the payload; several data sections are one body.
    private var bodies: [Range<Int>] = []
    private var firstBody: Range<Int>?

    init(_ rules: TelemetryRules) { self.rules = rules }

    /// Walks over a message and adds its properties to the batch.
    mutating func add(_ bytes: UnsafeRawBufferPointer, to batch: inout TelemetryBatch) -> AMQPError? {
        var reader = RawReader(bytes)
        while !reader.isAtEnd {
            guard let code = reader.descriptor(), let value = reader.next() else { return .unreadableMessage }
            switch code {
            case 0x72: guard addAnnotations(value, to: &batch) else { return .unreadableMessage }
            case 0x73: guard addProperties(value, to: &batch) else { return .unreadableMessage }
            case 0x74:
                guard addApplicationProperties(value, to: &batch) else { return .unreadableMessage }
                guard propertyCount <= rules.propertiesMax else {
                    return AMQPError(
                        .messageSizeExceeded,
                        "The message has more than \(rules.propertiesMax) properties."
                    )
                }
            case 0x75:
                guard let content = value.binary else { return .unreadableMessage }
                note(content, end: reader.index)
            case 0x77:
                // A text or bytes count as the body; what else it may be has no bytes to store.
                if let content = value.binary ?? value.text { note(content, end: reader.index) }
            case 0x70, 0x71, 0x76, 0x78: break
            default: return .unreadableMessage
            }
        }
        return nil
    }

    private mutating func note(_ content: UnsafeRawBufferPointer, end: Int) {
        let range = end - content.count..<end
        if firstBody == nil { firstBody = range } else { bodies.append(range) }
    }

    func body(of payload: ByteBuffer) -> ByteBuffer {
        func slice(_ range: Range<Int>) -> ByteBuffer {
            payload.getSlice(at: payload.readerIndex + range.lowerBound, length: range.count) ?? ByteBuffer()
        }
        guard let firstBody else { return ByteBuffer() }
        guard !bodies.isEmpty else { return slice(firstBody) }
        var joined = ByteBuffer()
        for range in [firstBody] + bodies { joined.writeImmutableBuffer(slice(range)) }
        return joined
    }

    private func addAnnotations(_ value: RawValue, to batch: inout TelemetryBatch) -> Bool {
        guard let (count, entries) = RawReader.entries(of: value) else { return false }
        var reader = entries
        for _ in 0..<count / 2 {
            guard let key = reader.next(), let value = reader.next() else { return false }
            guard let name = key.text, let property = Self.annotation(name) else { continue }
            if property == .component, !rules.isPlugAndPlay { continue }
            guard set(property, value, of: &batch) else { return false }
        }
        return true
    }

    private static func annotation(_ name: UnsafeRawBufferPointer) -> SystemProperty? {
        if name.spells("iothub-interface-id") { return .interfaceID }
        if name.spells("dt-subject") { return .component }
        if name.spells("Diagnostic-Id") { return .diagnosticID }
        if name.spells("Correlation-Context") { return .correlationContext }
        if name.spells("tracestate") { return .traceState }
        return nil
    }

    /// The fields of the properties section that events carry, by their places (AMQP 3.2.4).
    private static let fields: [SystemProperty?] = [
        .messageID, .userID, .to, nil, nil, .correlationID, .contentType, .contentEncoding,
    ]
    private static let expiryField = 8

    private func addProperties(_ value: RawValue, to batch: inout TelemetryBatch) -> Bool {
        guard let (count, fields) = RawReader.fields(of: value) else { return false }
        var reader = fields
        for index in 0..<min(count, Self.expiryField + 1) {
            guard let field = reader.next() else { return false }
            // Absent.
            if field.code == 0x40 { continue }
            if index == Self.expiryField {
                guard let milliseconds = field.timestamp else { return false }
                batch.absoluteExpiryTime(milliseconds)
            } else if let property = Self.fields[index] {
                guard set(property, field, of: &batch) else { return false }
            }
        }
        return true
    }

    private func set(_ property: SystemProperty, _ value: RawValue, of batch: inout TelemetryBatch) -> Bool {
        if property == .userID {
            guard let bytes = value.binary ?? value.text else { return false }
            batch.systemProperty(property, bytes)
            return true
        }
        if let text = value.text, text.isASCII {
            batch.systemProperty(property, text)
            return true
        }
        guard let printed = value.printed else { return value.code == 0x40 }
        let isSymbol = property == .contentType || property == .contentEncoding
        // Events carry these two as symbols, which are ASCII.
        let utf8 = isSymbol ? printed.utf8.map { $0 < 0x80 ? $0 : UInt8(ascii: "?") } : Array(printed.utf8)
        utf8.withUnsafeBytes { batch.systemProperty(property, $0) }
        return true
    }

    private mutating func addApplicationProperties(_ value: RawValue, to batch: inout TelemetryBatch) -> Bool {
        guard let (count, entries) = RawReader.entries(of: value) else { return false }
        var reader = entries
        propertyCount += count / 2
        guard propertyCount <= rules.propertiesMax else { return true }
        for _ in 0..<count / 2 {
            guard let key = reader.next(), let value = reader.next(), let name = key.text, name.isUTF8 else {
                return false
            }
            if Self.isReserved(name) { continue }
            if let text = value.text, text.isUTF8 {
                batch.applicationProperty(name, text)
            } else if let printed = value.printed {
                Array(printed.utf8).withUnsafeBytes { batch.applicationProperty(name, $0) }
            } else if value.code == 0x40 {
                // Readers see a property without value as an empty one, as over MQTT.
                batch.applicationProperty(name, UnsafeRawBufferPointer(start: nil, count: 0))
            } else {
                return false
            }
        }
        return true
    }

    /// What only the hub says of a sender, and what is meant for the hub alone (docs/wire/amqp.md#telemetry).
    private static let reserved: [StaticString] = [
        "iothub-connection-device-id", "iothub-connection-module-id", "iothub-connection-auth-method",
        "iothub-connection-auth-generation-id", "iothub-enqueuedtime", "iothub-message-source", "dt-dataschema",
        "iothub-ack", "iothub-operation",
    ]

    private static func isReserved(_ name: UnsafeRawBufferPointer) -> Bool {
        guard name.count >= 10, let first = name.first else { return false }
        guard first | 0x20 == UInt8(ascii: "i") || first | 0x20 == UInt8(ascii: "d") else { return false }
        return reserved.contains { name.spells($0) }
    }
}

extension UnsafeRawBufferPointer {
    fileprivate var isASCII: Bool { allSatisfy { $0 < 0x80 } }
    fileprivate var isUTF8: Bool { isASCII || String(validating: self, as: UTF8.self) != nil }

    fileprivate func spells(_ text: StaticString) -> Bool {
        count == text.utf8CodeUnitCount
            && elementsEqual(UnsafeRawBufferPointer(start: text.utf8Start, count: text.utf8CodeUnitCount))
    }
}
