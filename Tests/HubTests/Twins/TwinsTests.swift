// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import HubModel
import JSON
import NIOCore
import Testing

@testable import Hub

struct TwinsTests {
    private let device = IdentityID(device: "d1")
    private let module = IdentityID(device: "d1", module: "m1")

    private func code(_ call: () async throws -> Void) async -> HubErrorCode? {
        do { try await call() } catch { return (error as? HubError)?.code }
        return nil
    }

    @Test func `messages 054 mqtt 083 a device that asked for it is told of each desired change`() async throws {
        let hub = try TwinHub()
        try await hub.create(self.device)
        let peer = try await hub.connect(self.device)
        try await peer.subscribe()
        _ = try await hub.patch(self.device, #"{"interval":5,"old":null}"#)
        let body = ByteBuffer(string: #"{"properties":{"desired":{"new":1}}}"#)
        _ = try await hub.hub.twins.write(self.device, body: body, replaces: true, ifMatch: nil)
        let notices = try await peer.notices()
        #expect(notices.map(\.version) == [2, 3])
        #expect(
            notices.map { String(buffer: $0.payload) } == [
                #"{"interval":5,"old":null,"$version":2}"#, #"{"new":1,"$version":3}"#,
            ]
        )
    }

    @Test func `mqtt 084 mqtt 085 other changes, and changes before it asked, are not told`() async throws {
        let hub = try TwinHub()
        try await hub.create(self.device, self.module)
        let peer = try await hub.connect(self.device)
        _ = try await hub.patch(self.device, #"{"before":1}"#)
        try await peer.subscribe()
        let tags = ByteBuffer(string: #"{"tags":{"a":1},"properties":{"desired":{}}}"#)
        _ = try await hub.hub.twins.write(self.device, body: tags, replaces: false, ifMatch: nil)
        _ = try await peer.run { $0.report(ByteBuffer(string: #"{"a":1}"#)) }
        _ = try await hub.patch(self.module, #"{"a":1}"#)
        try await peer.subscribe(false)
        _ = try await hub.patch(self.device, #"{"after":1}"#)
        #expect(try await peer.notices().isEmpty)
        let document = try await peer.run { $0.twin() }
        #expect(
            String(buffer: document)
                == #"{"desired":{"before":1,"after":1,"$version":3},"reported":{"a":1,"$version":2}}"#
        )
    }

    @Test func `notices of writes at the same time come in the order of their versions`() async throws {
        let hub = try TwinHub()
        try await hub.create(self.device)
        let peer = try await hub.connect(self.device)
        try await peer.subscribe()
        try await withThrowingTaskGroup { group in
            for number in 0..<100 {
                group.addTask { _ = try await hub.patch(self.device, "{\"n\":\(number)}") }
            }
            try await group.waitForAll()
        }
        #expect(try await peer.notices().map(\.version) == Array(2...101))
    }

    @Test func `messages 056 reports on one connection take effect and are answered in order`() async throws {
        let hub = try TwinHub()
        try await hub.create(self.device)
        let peer = try await hub.connect(self.device)
        let loop = peer.loop
        let (versions, document) = try await peer.run { session in
            let reports = (0..<50).map { session.report(ByteBuffer(string: "{\"last\":\($0)}")) }
            let read = session.twin()
            return EventLoopFuture.whenAllSucceed(reports, on: loop).and(read)
        }
        #expect(versions == Array(2...51))
        // A read that was asked for after them sees them all.
        #expect(String(buffer: document) == #"{"desired":{"$version":1},"reported":{"last":49,"$version":51}}"#)
    }

    @Test func `mqtt 081 mqtt 082 a report that does not fit is refused and the next one taken`() async throws {
        let hub = try TwinHub()
        try await hub.create(self.device)
        let peer = try await hub.connect(self.device)
        let stale = await self.code {
            _ = try await peer.run { $0.report(ByteBuffer(string: #"{"a":1}"#), ifVersion: 7) }
        }
        #expect(stale == .preconditionFailed)
        #expect(await self.code { _ = try await peer.run { $0.report(ByteBuffer(string: "{")) } } == .formatError)
        #expect(try await peer.run { $0.report(ByteBuffer(string: #"{"a":1}"#), ifVersion: 1) } == 2)
    }

    @Test func `more requests of one connection than may wait are refused`() async throws {
        var limits = Limits()
        limits.twinRequestsPerConnectionMax = 2
        let hub = try TwinHub(limits: limits)
        try await hub.create(self.device)
        let peer = try await hub.connect(self.device)
        let loop = peer.loop
        let outcomes = try await peer.run { session in
            let patch = ByteBuffer(string: #"{"a":1}"#)
            let all = [session.report(patch), session.report(patch), session.report(patch)]
            return EventLoopFuture.whenAllComplete(all, on: loop)
        }
        #expect(outcomes.map { (try? $0.get()) ?? 0 } == [2, 3, 0])
        #expect(try await peer.run { $0.report(ByteBuffer(string: #"{"a":1}"#)) } == 4)
    }

    @Test func `a connection of an earlier generation reaches no twin`() async throws {
        let hub = try TwinHub()
        try await hub.create(self.device, generation: "2")
        let peer = try await hub.connect(self.device, generation: "1")
        #expect(await self.code { _ = try await peer.run { $0.twin() } } == .deviceNotFound)
        let patch = ByteBuffer(string: #"{"a":1}"#)
        #expect(await self.code { _ = try await peer.run { $0.report(patch) } } == .deviceNotFound)
        #expect(try await hub.twins.twin(self.device).twin == Twin(freshFor: self.device))
    }

    @Test func `messages 052 rest_service 059 a write with a wrong entity tag is refused`() async throws {
        let hub = try TwinHub()
        try await hub.create(self.device)
        let body = ByteBuffer(string: #"{"tags":{"a":1}}"#)
        let twins = hub.hub.twins
        let wrong = await self.code {
            _ = try await twins.write(self.device, body: body, replaces: false, ifMatch: .etags(["x"]))
        }
        #expect(wrong == .preconditionFailed)
        let etag = try await twins.document(of: self.device).etag
        let written = try await twins.write(self.device, body: body, replaces: false, ifMatch: .etags([etag]))
        #expect(written.etag != etag)
        _ = try await twins.write(self.device, body: body, replaces: true, ifMatch: .any)
    }

    @Test func `the document says whether the device is connected`() async throws {
        let hub = try TwinHub()
        try await hub.create(self.device)
        let before = try await JSONDocument(parsing: hub.hub.twins.document(of: self.device).text).root
        #expect(before["connectionState"]?.string == "Disconnected")
        _ = try await hub.connect(self.device)
        let after = try await JSONDocument(parsing: hub.hub.twins.document(of: self.device).text).root
        #expect(after["connectionState"]?.string == "Connected")
        #expect(after["lastActivityTime"]?.string == "2024-03-01T10:00:00.1230000Z")
    }

    @Test func `by default changes leave no events`() async throws {
        let hub = try TwinHub()
        try await hub.create(self.device)
        _ = try await hub.patch(self.device, #"{"a":1}"#)
        #expect(try await hub.twins.events(limit: 1).isEmpty)
    }

    @Test func `events of changes reach the log in order and stay in the outbox while it fails`() async throws {
        let hub = try TwinHub(events: .events)
        try await hub.create(self.device)
        let peer = try await hub.connect(self.device)
        hub.log.fail(true)
        _ = try await hub.patch(self.device, #"{"a":1}"#)
        _ = try await peer.run { $0.report(ByteBuffer(string: #"{"b":2}"#)) }
        let events = hub.hub.twinEvents
        #expect(await self.code { _ = try await events.carryBatch(on: peer.loop) } == .storageFull)
        #expect(try await hub.twins.events(limit: 9).count == 2)
        hub.log.fail(false)
        #expect(try await events.carryBatch(on: peer.loop))
        #expect(try await !events.carryBatch(on: peer.loop))

        let bodies = try hub.log.batches.map { batch in
            #expect(batch.publicCount == 1)
            let frame = EventFrame(
                enqueuedTimeMilliseconds: 0,
                firstSequenceNumber: 0,
                firstOffset: 0,
                records: batch.records
            )
            let entry = try #require(frame.entries.first { _ in true })
            let record = try #require(
                EventRecord(in: batch.records, payloadAt: entry.payloadStart, count: entry.payloadCount)
            )
            let text = String(buffer: batch.records)
            for part in ["twinChangeEvents", "twinChangeNotification", "updateTwin", "2024-03-01T10:00:00.1230000Z"] {
                #expect(text.contains(part))
            }
            return batch.records.getString(at: record.body.start, length: record.body.count) ?? ""
        }
        #expect(bodies.count == 2)
        #expect(bodies[0].hasPrefix(#"{"version":3,"properties":{"desired":{"a":1,"#))
        #expect(bodies[1].hasPrefix(#"{"version":4,"properties":{"reported":{"b":2,"#))
    }

    @Test func `events that nothing asks for any more are dropped`() async throws {
        let hub = try TwinHub()
        try await hub.create(self.device)
        let change = try TwinChange(
            reportedBody: ByteBuffer(string: #"{"a":1}"#),
            ifVersion: nil,
            limits: TwinLimits()
        )
        _ = try await hub.twins.update(
            TwinStep(id: self.device, change: change, milliseconds: 0, recordsEvent: true)
        )
        let loop = try await hub.connect(self.device).loop
        #expect(try await hub.hub.twinEvents.carryBatch(on: loop))
        #expect(try await hub.twins.events(limit: 1).isEmpty)
        #expect(hub.log.batches.isEmpty)
    }
}
