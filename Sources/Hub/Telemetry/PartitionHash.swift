// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

/// Finds the partition of a device, as clients compute it themselves (docs/wire/event-hubs.md#partition-of-a-device).
public enum PartitionHash {
    /// The partition, from 0, that the events of a device belong to.
    ///
    /// Upper and lower case of the id make no difference; there is at least one partition.
    public static func partition(of deviceID: String, partitionCount: Int) -> Int {
        let (c, b) = hash(Array(deviceID.utf8.map(upperCased)))
        let folded = Int16(truncatingIfNeeded: c ^ b)
        let logical = Int((Int(folded) % logicalPartitions).magnitude)
        let quotient = logicalPartitions / partitionCount
        let remainder = logicalPartitions % partitionCount
        let large = (quotient + 1) * remainder
        return logical < large
            ? logical / (quotient + 1)
            : remainder + (logical - large) / quotient
    }

    private static let logicalPartitions = 32_767

    private static func upperCased(_ byte: UInt8) -> UInt8 {
        (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(byte) ? byte - 32 : byte
    }

    /// Jenkins' lookup3 `hashlittle2` with both seeds zero; the last block is padded with zeros.
    static func hash(_ key: [UInt8]) -> (c: UInt32, b: UInt32) {
        var a: UInt32 = 0xdead_beef &+ UInt32(truncatingIfNeeded: key.count)
        var b = a
        var c = a
        var rest = key[...]
        while rest.count > 12 {
            a &+= word(rest, 0)
            b &+= word(rest, 4)
            c &+= word(rest, 8)
            mix(&a, &b, &c)
            rest = rest.dropFirst(12)
        }
        guard !rest.isEmpty else { return (c, b) }
        a &+= word(rest, 0)
        b &+= word(rest, 4)
        c &+= word(rest, 8)
        finish(&a, &b, &c)
        return (c, b)
    }

    private static func word(_ bytes: ArraySlice<UInt8>, _ offset: Int) -> UInt32 {
        bytes.dropFirst(offset).prefix(4).enumerated().reduce(0) { $0 | UInt32($1.element) << (8 * $1.offset) }
    }

    private static func rotate(_ value: UInt32, _ count: UInt32) -> UInt32 {
        value << count | value >> (32 - count)
    }

    private static func mix(_ a: inout UInt32, _ b: inout UInt32, _ c: inout UInt32) {
        a = (a &- c) ^ rotate(c, 4)
        c = c &+ b
        b = (b &- a) ^ rotate(a, 6)
        a = a &+ c
        c = (c &- b) ^ rotate(b, 8)
        b = b &+ a
        a = (a &- c) ^ rotate(c, 16)
        c = c &+ b
        b = (b &- a) ^ rotate(a, 19)
        a = a &+ c
        c = (c &- b) ^ rotate(b, 4)
        b = b &+ a
    }

    private static func finish(_ a: inout UInt32, _ b: inout UInt32, _ c: inout UInt32) {
        c = (c ^ b) &- rotate(b, 14)
        a = (a ^ c) &- rotate(c, 11)
        b = (b ^ a) &- rotate(a, 25)
        c = (c ^ b) &- rotate(b, 16)
        a = (a ^ c) &- rotate(c, 4)
        b = (b ^ a) &- rotate(a, 14)
        c = (c ^ b) &- rotate(b, 24)
    }
}
