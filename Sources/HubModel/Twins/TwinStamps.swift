// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

public import NIOCore

/// When a level or a property of a twin's section was last written.
public struct TwinStamp: Sendable, Hashable {
    /// The time, in milliseconds since 1970 UTC.
    public var milliseconds: Int64
    /// The version that the section got by that write; 0 where there was none.
    public var version: Int64

    /// Makes a stamp.
    public init(milliseconds: Int64, version: Int64) {
        self.milliseconds = milliseconds
        self.version = version
    }

    /// The stamp of what was never written: the first instant of year 1.
    public static let never = TwinStamp(milliseconds: -62_135_596_800_000, version: 0)
}

/// The stamps of a section: of its root, and of each member of it and of its objects, in the order of the text.
///
/// Arrays are leaves. In memory a stamp each; stored as runs, because most neighbours were written together.
public struct TwinStamps: Sendable, Hashable {
    /// The stamps, never empty.
    public let values: [TwinStamp]

    /// Makes stamps from their list; without arguments, those of an empty section that was never written.
    public init(_ values: [TwinStamp] = [.never]) {
        precondition(!values.isEmpty, "a section has a root")
        self.values = values
    }

    private static let formatVersion: UInt8 = 1

    /// Writes the stamps in the form in which stores keep them.
    ///
    /// A format byte, then runs, each: `UInt32` length, `Int64` milliseconds, `Int64` version; big-endian.
    public func write(to buffer: inout ByteBuffer) {
        buffer.writeInteger(Self.formatVersion)
        var start = 0
        while start < self.values.count {
            let stamp = self.values[start]
            var end = start + 1
            while end < self.values.count, self.values[end] == stamp { end += 1 }
            buffer.writeMultipleIntegers(UInt32(end - start), stamp.milliseconds, stamp.version)
            start = end
        }
    }

    /// Reads what ``write(to:)`` wrote; nil where it is something else.
    ///
    /// - Parameters:
    ///   - buffer: all of what was written, and nothing more
    ///   - countMax: how many stamps are believed, so that a damaged length can't take the memory
    public init?(reading buffer: ByteBuffer, countMax: Int) {
        var buffer = buffer
        guard buffer.readInteger(as: UInt8.self) == Self.formatVersion else { return nil }
        var values: [TwinStamp] = []
        while let run = buffer.readMultipleIntegers(as: (UInt32, Int64, Int64).self) {
            guard values.count + Int(run.0) <= countMax else { return nil }
            values.append(
                contentsOf: repeatElement(TwinStamp(milliseconds: run.1, version: run.2), count: Int(run.0))
            )
        }
        guard buffer.readableBytes == 0, !values.isEmpty else { return nil }
        self.values = values
    }
}
