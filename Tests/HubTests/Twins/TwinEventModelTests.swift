// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import EmbeddedStore
import FoundationEssentials
import HubModel
import HubTesting
import NIOCore
import Testing

@testable import Hub

/// Random changes, failures of the log and crashes: each committed change has its event in the log, in order.
struct TwinEventModelTests {
    @Test(arguments: 1...8)
    func `an event follows every committed change, whatever crashes in between`(_ seed: Int) async throws {
        var random = SeededRandom(seed: UInt64(seed))
        let folder = FileManager.default.temporaryDirectory.appending(path: "roost-twin-events-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: folder) }
        let log = CollectingLog()
        var crashes = 0
        func path() -> String { folder.appending(path: "\(crashes).sqlite").path }
        var database = try StateDatabase(path: path(), durability: .os)
        var hub = try TwinHub(events: .events, database: database, log: log)
        let devices = ["d0", "d1"].map { IdentityID(device: $0) }
        for device in devices { try await hub.create(device) }
        var committed: [String: [Int]] = [:]
        for number in 0..<120 {
            let device = devices.randomElement(using: &random) ?? devices[0]
            switch Int.random(in: 0..<10, using: &random) {
            case 0..<5:
                _ = try await hub.patch(device, "{\"n\":\(number)}")
                committed[device.device, default: []].append(number)
            case 5:
                // What changes nothing leaves no event.
                _ = try await hub.patch(device, "{}")
            case 6..<8:
                log.fail(random.one(in: 2))
                do { _ = try await hub.hub.twinEvents.carryBatch(on: hub.loop) } catch {}
            case 8:
                // The log has the events, and the outbox has them still: they are carried again.
                log.fail(false)
                _ = try await hub.hub.twinEvents.appendOnly(on: hub.loop)
            default:
                let from = path()
                crashes += 1
                for suffix in ["", "-wal"] where FileManager.default.fileExists(atPath: from + suffix) {
                    try FileManager.default.copyItem(atPath: from + suffix, toPath: path() + suffix)
                }
                try database.close()
                database = try StateDatabase(path: path(), durability: .os)
                hub = try TwinHub(events: .events, database: database, log: log)
            }
        }
        log.fail(false)
        while try await hub.hub.twinEvents.carryBatch(on: hub.loop) {}
        #expect(try await hub.twins.events(limit: 1).isEmpty)
        for device in devices {
            let carried = Self.numbers(log, of: device)
            // An event that came again came with those behind it: in the order of first comings none is missing.
            var seen: Set<Int> = []
            #expect(carried.filter { seen.insert($0).inserted } == committed[device.device] ?? [])
        }
        try database.close()
    }

    /// The numbers that the events of a device tell of, in the order of the log.
    private static func numbers(_ log: CollectingLog, of device: IdentityID) -> [Int] {
        log.batches.compactMap { batch in
            let text = String(buffer: batch.records)
            guard text.contains(device.device), let range = text.firstRange(of: "\"desired\":{\"n\":") else {
                return nil
            }
            return Int(text[range.upperBound...].prefix { $0.isNumber })
        }
    }
}
