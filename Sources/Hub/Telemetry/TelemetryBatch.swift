// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import AMQP
import HubModel
public import NIOCore

/// Messages of one sender, encoded into event records as they arrive, to be published together.
///
/// For each message: `begin()`, then its properties in any order, then `finish(body:)`. Nothing is allocated for a
/// message but what the batch's one buffer grows by. Records are laid out as ``EventRecord`` describes.
public struct TelemetryBatch {
    private struct Pending {
        var property: SystemProperty
        var start: Int
        var count: Int
    }

    /// How many messages are finished.
    public private(set) var count = 0
    /// How many bytes their bodies have.
    public private(set) var bodyBytes = 0

    private static let headersSize = EventBatch.recordHeaderSize + EventRecord.headerSize

    /// The fields of the properties section before `absolute-expiry-time`; nil for those that senders can't set here.
    private static let propertiesFields: [SystemProperty?] = [
        .messageID, .userID, .to, nil, nil, .correlationID, .contentType, .contentEncoding,
    ]

    private let stamp: TelemetryStamp
    private let messageSizeMax: Int
    private let destinations: EventDestinations
    private var records: ByteBuffer
    private var stampStart: Int?
    private var recordStart = 0
    private var applicationPropertyCount = 0
    /// The size of the latest message, as limits count it: its body, the values of its system properties, and names and
    /// values of its application properties.
    public private(set) var messageSize = 0
    private var pending: [Pending] = []
    private var values = ByteBuffer()
    private var expiryMilliseconds: Int64?
    /// Whether the message that is being written needs more than its body and its application properties.
    private var hasSystemProperties = false

    /// Begins an empty batch; `capacity` is a guess of the bytes to come.
    init(
        stamp: TelemetryStamp,
        messageSizeMax: Int,
        allocator: ByteBufferAllocator,
        capacity: Int,
        destinations: EventDestinations = .events
    ) {
        self.destinations = destinations
        self.stamp = stamp
        self.messageSizeMax = messageSizeMax
        records = allocator.buffer(capacity: capacity)
    }

    /// How many bytes the batch's records have.
    public var byteCount: Int { records.readableBytes }

    /// Begins a message.
    public mutating func begin() {
        recordStart = records.writerIndex
        // Filled in by `finish(body:)`.
        records.reserveCapacity(minimumWritableBytes: Self.headersSize)
        records.moveWriterIndex(forwardBy: Self.headersSize)
        applicationPropertyCount = 0
        messageSize = 0
        guard hasSystemProperties else { return }
        hasSystemProperties = false
        pending.removeAll(keepingCapacity: true)
        values.clear()
        expiryMilliseconds = nil
    }

    /// Adds an application property; a later one of the same name replaces an earlier one.
    public mutating func applicationProperty(_ name: UnsafeRawBufferPointer, _ value: UnsafeRawBufferPointer) {
        if applicationPropertyCount > 0 {
            removeApplicationProperty(name)
        }
        messageSize += name.count + value.count
        applicationPropertyCount += 1
        records.writeAMQPString(utf8: name)
        records.writeAMQPString(utf8: value)
    }

    /// Adds an application property of the hub's own making.
    public mutating func applicationProperty(_ name: StaticString, _ value: StaticString) {
        applicationProperty(
            UnsafeRawBufferPointer(start: name.utf8Start, count: name.utf8CodeUnitCount),
            UnsafeRawBufferPointer(start: value.utf8Start, count: value.utf8CodeUnitCount)
        )
    }

    /// Sets a system property; a later value replaces an earlier one.
    public mutating func systemProperty(_ property: SystemProperty, _ value: UnsafeRawBufferPointer) {
        messageSize += value.count
        hasSystemProperties = true
        pending.removeAll { $0.property == property }
        pending.append(Pending(property: property, start: values.writerIndex, count: value.count))
        values.writeBytes(value)
    }

    /// Sets when the message is of no use any more, in milliseconds since 1970 UTC.
    public mutating func absoluteExpiryTime(_ milliseconds: Int64) {
        hasSystemProperties = true
        expiryMilliseconds = milliseconds
    }

    /// Ends a message; false, and the message is taken back, where it is larger than a message may be.
    public mutating func finish(body: ByteBuffer) -> Bool {
        messageSize += body.readableBytes
        guard messageSize <= messageSizeMax else {
            abandon()
            return false
        }
        let payloadStart = recordStart + EventBatch.recordHeaderSize
        let applicationBytes = records.writerIndex - payloadStart - EventRecord.headerSize
        let stampBack = writeStamp(payloadStart: payloadStart)
        let annotationsStart = records.writerIndex
        let annotationPairs = hasSystemProperties ? writeOwnAnnotations() : 0
        let propertiesStart = records.writerIndex
        if hasSystemProperties { writePropertiesSection() }
        let bodyStart = records.writerIndex
        records.writeImmutableBuffer(body)
        let end = records.writerIndex
        writeHeaders(
            (UInt32(end - payloadStart), destinations.rawValue),
            (UInt16(stamp.pairs), UInt16(annotationPairs), UInt16(applicationPropertyCount)),
            (
                UInt32(stampBack), UInt32(stamp.entries.readableBytes), UInt32(applicationBytes),
                UInt32(propertiesStart - annotationsStart), UInt32(bodyStart - propertiesStart), UInt32(end - bodyStart)
            )
        )
        count += 1
        bodyBytes += body.readableBytes
        return true
    }

    /// Fills in what stands before the pieces, through one access to the buffer: each costs, and every message has this.
    private mutating func writeHeaders(
        _ record: (length: UInt32, destinations: UInt32),
        _ pairs: (stamp: UInt16, own: UInt16, application: UInt16),
        _ sizes: (UInt32, UInt32, UInt32, UInt32, UInt32, UInt32)
    ) {
        let offset = recordStart - records.readerIndex
        records.withUnsafeMutableReadableBytes { bytes in
            func store(_ value: some FixedWidthInteger, _ index: Int) {
                bytes.storeBytes(of: value.bigEndian, toByteOffset: offset + index, as: type(of: value))
            }
            store(record.length, 0)
            store(record.destinations, 4)
            store(UInt16(EventRecord.formatVersion) << 8, 8)
            store(pairs.stamp, 10)
            store(pairs.own, 12)
            store(pairs.application, 14)
            store(sizes.0, 16)
            store(sizes.1, 20)
            store(sizes.2, 24)
            store(sizes.3, 28)
            store(sizes.4, 32)
            store(sizes.5, 36)
        }
    }

    /// A place in a batch between two messages.
    public struct Mark: Sendable {
        fileprivate let writerIndex: Int
        fileprivate let count: Int
        fileprivate let bodyBytes: Int
    }

    /// The place behind the latest message.
    public var mark: Mark { Mark(writerIndex: records.writerIndex, count: count, bodyBytes: bodyBytes) }

    /// Takes back all messages behind a place.
    public mutating func takeBack(to mark: Mark) {
        records.moveWriterIndex(to: mark.writerIndex)
        count = mark.count
        bodyBytes = mark.bodyBytes
    }

    /// Takes back a message that was begun.
    public mutating func abandon() {
        records.moveWriterIndex(to: recordStart)
    }

    /// The finished records, to be appended to the log.
    consuming func eventBatch() -> EventBatch {
        EventBatch(
            partition: stamp.partition,
            records: records,
            count: count,
            publicCount: destinations.contains(.events) ? count : 0
        )
    }

    /// Writes the stamp unless an earlier message of the batch holds it; returns how far back it lies, 0 for here.
    private mutating func writeStamp(payloadStart: Int) -> Int {
        if let stampStart, count > 0 {
            return payloadStart - stampStart
        }
        stampStart = records.writerIndex
        records.writeImmutableBuffer(stamp.entries)
        return 0
    }

    private mutating func writeOwnAnnotations() -> Int {
        var pairs = 0
        for value in pending {
            guard let annotation = value.property.annotation else { continue }
            pairs += 1
            records.writeAMQPSymbol(annotation)
            withBytes(of: value) { $0.writeAMQPString(utf8: $1) }
        }
        return pairs
    }

    /// Writes the properties section, its list cut after the last field that is set (AMQP 3.2.4).
    private mutating func writePropertiesSection() {
        guard expiryMilliseconds != nil || pending.contains(where: { $0.property.annotation == nil }) else { return }
        let fields = Self.propertiesFields
        records.writeInteger(UInt16(0x0053))
        records.writeInteger(UInt16(0x73d0))
        let sizeIndex = records.writerIndex
        records.writeRepeatingByte(0, count: 8)
        var fieldCount = 0
        for (index, field) in fields.enumerated() {
            guard let field, let value = pending.first(where: { $0.property == field }) else { continue }
            records.writeRepeatingByte(0x40, count: index - fieldCount)
            switch field {
            case .userID: withBytes(of: value) { $0.writeAMQPBinary(bytes: $1) }
            case .contentType, .contentEncoding: withBytes(of: value) { $0.writeAMQPSymbol(ascii: $1) }
            default: withBytes(of: value) { $0.writeAMQPString(utf8: $1) }
            }
            fieldCount = index + 1
        }
        if let expiryMilliseconds {
            records.writeRepeatingByte(0x40, count: fields.count - fieldCount)
            records.writeAMQPTimestamp(expiryMilliseconds)
            fieldCount = fields.count + 1
        }
        records.setMultipleIntegers(
            UInt32(records.writerIndex - sizeIndex - 4),
            UInt32(fieldCount),
            at: sizeIndex
        )
    }

    private mutating func withBytes(of value: Pending, write: (inout ByteBuffer, UnsafeRawBufferPointer) -> Void) {
        values.withUnsafeReadableBytes { bytes in
            write(&records, UnsafeRawBufferPointer(rebasing: bytes[value.start..<value.start + value.count]))
        }
    }

    /// Takes an application property of this name out of the message that is being written.
    private mutating func removeApplicationProperty(_ name: UnsafeRawBufferPointer) {
        let entriesStart = recordStart + EventBatch.recordHeaderSize + EventRecord.headerSize
        guard let (start, end) = records.findEntry(name, in: entriesStart..<records.writerIndex) else { return }
        let tail = records.getSlice(at: end, length: records.writerIndex - end) ?? ByteBuffer()
        records.moveWriterIndex(to: start)
        records.writeImmutableBuffer(tail)
        applicationPropertyCount -= 1
    }
}

extension ByteBuffer {
    /// Finds the string-keyed entry of a name among entries of variable-width strings.
    fileprivate func findEntry(_ name: UnsafeRawBufferPointer, in range: Range<Int>) -> (start: Int, end: Int)? {
        withUnsafeReadableBytes { bytes in
            let base = readerIndex
            func content(at index: Int) -> Range<Int> {
                if bytes[index - base] & 0xf0 == 0xa0 {
                    return index + 2..<index + 2 + Int(bytes[index + 1 - base])
                }
                let size = UInt32(bigEndian: bytes.loadUnaligned(fromByteOffset: index + 1 - base, as: UInt32.self))
                return index + 5..<index + 5 + Int(size)
            }
            var index = range.lowerBound
            while index < range.upperBound {
                let key = content(at: index)
                let value = content(at: key.upperBound)
                if key.count == name.count, bytes[key.lowerBound - base..<key.upperBound - base].elementsEqual(name) {
                    return (index, value.upperBound)
                }
                index = value.upperBound
            }
            return nil
        }
    }
}
