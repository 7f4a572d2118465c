// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import Testing

@testable import Hub

/// The vectors that docs/wire/event-hubs.md gives.
struct PartitionHashTests {
    struct Vector: Sendable {
        let id: String
        let c: UInt32
        let b: UInt32
        let partitions: [Int: Int]
    }

    static let vectors = [
        Vector(id: "DEVICE1", c: 0x3654_da8a, b: 0x8869_9144, partitions: [2: 1, 4: 2, 8: 4, 32: 18]),
        Vector(id: "MYDEVICE", c: 0x36e2_37c8, b: 0xdb46_2f45, partitions: [2: 0, 4: 0, 8: 1, 32: 6]),
        Vector(id: "SENSOR-0001", c: 0x1a44_bb94, b: 0xd5a4_01dd, partitions: [2: 1, 4: 2, 8: 4, 32: 17]),
        Vector(id: "D", c: 0x8000_29f6, b: 0x2965_2a0a, partitions: [2: 0, 4: 0, 8: 0, 32: 0]),
        Vector(
            id: "SIMULATED-DEVICE-000042",
            c: 0xf3cb_b18f,
            b: 0x23e1_eb20,
            partitions: [2: 1, 4: 2, 8: 5, 32: 22]
        ),
        Vector(
            id: "DEVICE-WITH-A-RATHER-LONG-NAME-1234567890",
            c: 0xf30f_a7fe,
            b: 0x158f_1ba5,
            partitions: [2: 1, 4: 2, 8: 4, 32: 16]
        ),
        Vector(id: "12345678", c: 0x941b_63d3, b: 0x41b5_f771, partitions: [2: 1, 4: 3, 8: 6, 32: 26]),
        Vector(id: "123456789012", c: 0xb578_f5b0, b: 0x27f9_a1c5, partitions: [2: 1, 4: 2, 8: 5, 32: 21]),
    ]

    @Test(arguments: vectors)
    func `event_hubs 047 the partition of a device is the hash that clients compute`(vector: Vector) {
        let (c, b) = PartitionHash.hash(Array(vector.id.utf8))
        #expect(c == vector.c)
        #expect(b == vector.b)
        for (count, partition) in vector.partitions {
            #expect(PartitionHash.partition(of: vector.id, partitionCount: count) == partition)
            #expect(PartitionHash.partition(of: vector.id.lowercased(), partitionCount: count) == partition)
        }
    }
}
