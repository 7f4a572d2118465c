// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import NIOCore

/// What a frame carries.
enum FrameKind: UInt8, Sendable {
    /// Events of one partition of one commit.
    case events = 0
    /// The numbers of all partitions as they are here: first in every file, and at the end when the log is quiet or closed.
    case snapshot = 1
}

/// The fixed part in front of every frame, 64 bytes, big-endian; the payload follows, filled up with zeros to 8 bytes.
///
/// | byte | field | | byte | field |
/// |---|---|---|---|---|
/// | 0 | magic | | 32 | first public sequence number |
/// | 4 | format version | | 40 | offset of the first event |
/// | 5 | kind | | 48 | enqueued time, ms |
/// | 6 | partition | | 56 | count of public events |
/// | 8 | payload length | | 60 | CRC-32C of bytes 0..<60 and of the filled payload |
/// | 12 | count of events | | 64 | payload |
/// | 16 | position: epoch of the file, byte in it | | | |
/// | 24 | position that was durable before this frame was written | | | |
struct FrameHeader: Sendable, Equatable {
    static let bytes = 64
    static let magic: UInt32 = 0x5246_524d
    static let version: UInt8 = 1
    static let alignment = 8

    var kind: FrameKind
    var partition: Int
    var payloadBytes: Int
    var count: Int
    var position: LogPosition
    var durable: LogPosition
    var firstSequence: Int64
    /// Of a snapshot that begins a file: the byte where that which was carried over into the file ends.
    var firstOffset: Int64
    var milliseconds: Int64
    var publicCount: Int

    /// Length of the whole frame with a payload of this many bytes.
    static func frameBytes(payload: Int) -> Int { bytes + (payload + alignment - 1) / alignment * alignment }

    /// Length of the whole frame.
    var frameBytes: Int { Self.frameBytes(payload: payloadBytes) }
    /// The position after the frame.
    var end: LogPosition { LogPosition(rawValue: position.rawValue + UInt64(frameBytes)) }
}
