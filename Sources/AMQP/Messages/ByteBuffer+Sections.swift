// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

public import NIOCore

/// The sections of a message that are maps.
public enum AMQPMapSection: UInt8, Sendable {
    /// Annotations for this hop.
    case deliveryAnnotations = 0x71
    /// Annotations for all hops.
    case messageAnnotations = 0x72
    /// The application's properties.
    case applicationProperties = 0x74
    /// What can only be computed after the body.
    case footer = 0x78
}

// Builders for messages whose parts are already encoded: only headers are written here.
extension ByteBuffer {
    /// Writes the descriptor and the map header of a section; the caller writes the entries.
    ///
    /// - Parameters:
    ///   - section: Which section.
    ///   - items: The number of keys and values together.
    ///   - bytes: The number of bytes that all entries take.
    public mutating func writeAMQPMapSectionHeader(_ section: AMQPMapSection, items: Int, bytes: Int) {
        writeAMQPDescriptor(section.rawValue)
        writeAMQPMapHeader(items: items, bytes: bytes)
    }

    /// Writes a data section.
    public mutating func writeAMQPDataSection(_ bytes: ByteBuffer) {
        writeAMQPDescriptor(Descriptor.data)
        writeAMQPBinary(bytes)
    }
}
