// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import EmbeddedStore
import FoundationEssentials
import HubModel
import NIOCore
import Synchronization
import Testing

/// One test for each sentence of `TwinStore`'s documentation.
struct TwinStoreTests {
    private let identities: any IdentityStore
    private let store: any TwinStore
    private let device = IdentityID(device: "d")
    private let module = IdentityID(device: "d", module: "m")

    init() throws {
        let database = try StateDatabase.inMemory()
        self.identities = EmbeddedIdentityStore(database, limits: Limits())
        self.store = EmbeddedTwinStore(database, limits: Limits())
    }

    private func create(_ ids: IdentityID..., generation: String = "1") async throws {
        for id in ids {
            let identity = RegisteredIdentity(id: id, generationID: generation, etag: "e")
            _ = try await self.identities.apply([.put(identity, .always)])[0].get()
        }
    }

    private func step(_ id: IdentityID, _ reported: String, generation: String? = nil) throws -> TwinStep {
        let change = try TwinChange(
            reportedBody: ByteBuffer(string: reported),
            ifVersion: nil,
            limits: TwinLimits()
        )
        return TwinStep(id: id, generationID: generation, change: change, milliseconds: 1_000)
    }

    private func serviceStep(_ id: IdentityID, _ body: String, replaces: Bool = false) throws -> TwinStep {
        let change = try TwinChange(
            serviceBody: ByteBuffer(string: body),
            replaces: replaces,
            limits: TwinLimits()
        )
        return TwinStep(id: id, change: change, milliseconds: 2_000)
    }

    private func code(_ call: () async throws -> Void) async -> HubErrorCode? {
        do { try await call() } catch { return (error as? HubError)?.code }
        return nil
    }

    @Test func `every identity has a twin from its creation`() async throws {
        try await self.create(self.device, self.module)
        for id in [self.device, self.module] {
            let record = try await self.store.twin(id)
            #expect(record.twin == Twin(freshFor: id))
            #expect(record.identity.id == id)
        }
    }

    @Test func `the twin of a missing identity is not found`() async throws {
        #expect(await self.code { _ = try await self.store.twin(self.device) } == .deviceNotFound)
        #expect(await self.code { _ = try await self.store.twin(self.module) } == .deviceNotFound)
        try await self.create(self.device)
        #expect(await self.code { _ = try await self.store.twin(self.module) } == .moduleNotFound)
        #expect(await self.code { _ = try await self.store.update(self.step(self.module, "{}")) } == .moduleNotFound)
    }

    @Test func `rest_service 046 an identity that was deleted and made again has a fresh twin`() async throws {
        try await self.create(self.device, self.module)
        for id in [self.device, self.module] { _ = try await self.store.update(self.step(id, #"{"a":1}"#)) }
        _ = try await self.identities.apply([.delete(self.device, .always)])
        #expect(await self.code { _ = try await self.store.twin(self.module) } == .deviceNotFound)
        try await self.create(self.device, self.module, generation: "2")
        for id in [self.device, self.module] {
            #expect(try await self.store.twin(id).twin == Twin(freshFor: id))
        }
    }

    @Test func `an identity that was replaced by one of another generation has a fresh twin`() async throws {
        try await self.create(self.device)
        _ = try await self.store.update(self.step(self.device, #"{"a":1}"#))
        try await self.create(self.device)
        #expect(try await self.store.twin(self.device).twin.reported.version == 2)
        try await self.create(self.device, generation: "2")
        #expect(try await self.store.twin(self.device).twin == Twin(freshFor: self.device))
    }

    @Test func `a step is seen by reads after it was answered and reads back as it was answered`() async throws {
        try await self.create(self.device)
        let body = #"{"tags":{"t":"\u00e9"},"properties":{"desired":{"a":1.50,"b":{"c":[1,{"x":null2}]}}}}"#
            .replacing("null2", with: "2")
        let first = try await self.store.update(self.serviceStep(self.device, body))
        let second = try await self.store.update(self.step(self.device, #"{"r":{"s":-0.0}}"#))
        #expect(second.update.twin.desired == first.update.twin.desired)
        #expect(try await self.store.twin(self.device).twin == second.update.twin)
        #expect(second.update.twin.reported.stamps.values.count == 3)
    }

    @Test func `messages 058 the twins of a device and of its modules are independent`() async throws {
        try await self.create(self.device, self.module)
        _ = try await self.store.update(self.step(self.module, #"{"a":1}"#))
        #expect(try await self.store.twin(self.device).twin == Twin(freshFor: self.device))
        _ = try await self.identities.apply([.delete(self.module, .always)])
        #expect(try await self.store.twin(self.device).twin == Twin(freshFor: self.device))
    }

    @Test func `a step for another generation finds no device`() async throws {
        try await self.create(self.device, generation: "2")
        #expect(
            await self.code { _ = try await self.store.update(self.step(self.device, "{}", generation: "1")) }
                == .deviceNotFound
        )
        _ = try await self.store.update(self.step(self.device, #"{"a":1}"#, generation: "2"))
    }

    @Test func `steps that wait together succeed or fail each by itself`() async throws {
        try await self.create(self.device)
        let outcomes = await withTaskGroup(of: (Int, HubErrorCode?).self) { group in
            for number in 0..<50 {
                group.addTask {
                    let id = number % 5 == 0 ? IdentityID(device: "missing") : self.device
                    return (
                        number,
                        await self.code { _ = try await self.store.update(self.step(id, "{\"k\(number)\":1}")) }
                    )
                }
            }
            return await group.reduce(into: [:]) { $0[$1.0] = $1.1 }
        }
        #expect(outcomes.count == 10)
        let twin = try await self.store.twin(self.device).twin
        #expect(twin.reported.version == 41)
        #expect(twin.reported.stamps.values.count == 41)
    }

    @Test func `a step is refused where the entity tag or the size does not fit and changes nothing`() async throws {
        try await self.create(self.device)
        var step = try self.serviceStep(self.device, #"{"tags":{"a":1}}"#)
        step.ifMatch = ["AAAAAAAAAAI="]
        let wrong = step
        #expect(await self.code { _ = try await self.store.update(wrong) } == .preconditionFailed)
        let string = String(repeating: "x", count: 4096)
        let large = "{" + (0..<9).map { "\"\($0)\":\"\(string)\"" }.joined(separator: ",") + "}"
        #expect(await self.code { _ = try await self.store.update(self.step(self.device, large)) } == .argumentInvalid)
        #expect(try await self.store.twin(self.device).twin == Twin(freshFor: self.device))
        step.ifMatch = ["AAAAAAAAAAE="]
        #expect(try await self.store.update(step).update.twin.hasTags)
    }

    @Test func `steps of one thread take effect and are answered in their order`() async throws {
        try await self.create(self.device)
        let versions = Mutex<[Int64]>([])
        let steps = try (0..<200).map { try self.step(self.device, "{\"last\":\($0)}") }
        await withCheckedContinuation { continuation in
            for (number, step) in steps.enumerated() {
                self.store.submit(step) { outcome in
                    if case .success(let commit) = outcome {
                        versions.withLock { $0.append(commit.update.twin.reported.version) }
                    }
                    if number == steps.count - 1 { continuation.resume() }
                }
            }
        }
        #expect(versions.withLock { $0 } == Array(2...201))
        #expect(try await self.store.twin(self.device).twin.reported.text == ByteBuffer(string: #"{"last":199}"#))
    }

    @Test func `the outbox holds the events that were wanted in the order of the changes`() async throws {
        try await self.create(self.device, self.module)
        _ = try await self.store.update(self.step(self.device, #"{"unwanted":1}"#))
        for (number, id) in [self.device, self.module, self.device].enumerated() {
            var step = try self.step(id, "{\"n\":\(number)}")
            step.recordsEvent = true
            _ = try await self.store.update(step)
        }
        var empty = try self.step(self.device, "{}")
        empty.recordsEvent = true
        _ = try await self.store.update(empty)
        var replacement = try self.serviceStep(self.device, #"{"tags":{"a":1}}"#, replaces: true)
        replacement.recordsEvent = true
        _ = try await self.store.update(replacement)

        let events = try await self.store.events(limit: 10)
        #expect(events.map(\.id) == [self.device, self.module, self.device, self.device])
        #expect(events.map(\.isReplacement) == [false, false, false, true])
        #expect(events.map(\.milliseconds) == [1_000, 1_000, 1_000, 2_000])
        #expect(String(buffer: events[0].body).hasPrefix(#"{"version":4,"properties":{"reported":{"n":0,"#))
        #expect(events.map(\.position) == events.map(\.position).sorted())
        #expect(try await self.store.events(limit: 2) == Array(events.prefix(2)))
    }

    @Test func `entries of the outbox are removed up to a position`() async throws {
        try await self.create(self.device)
        for number in 0..<3 {
            var step = try self.step(self.device, "{\"n\":\(number)}")
            step.recordsEvent = true
            _ = try await self.store.update(step)
        }
        let events = try await self.store.events(limit: 10)
        try await self.store.removeEvents(through: events[1].position)
        #expect(try await self.store.events(limit: 10) == [events[2]])
    }

    @Test func `what was answered is there after the database was opened again`() async throws {
        let folder = FileManager.default.temporaryDirectory.appending(path: "roost-twins-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: folder) }
        let path = folder.appending(path: "state.sqlite").path
        let first = try StateDatabase(path: path)
        let identity = RegisteredIdentity(id: self.device, generationID: "1", etag: "e")
        _ = try await EmbeddedIdentityStore(first, limits: Limits()).apply([.put(identity, .always)])
        var step = try self.step(self.device, #"{"a":1}"#)
        step.recordsEvent = true
        let twin = try await EmbeddedTwinStore(first, limits: Limits()).update(step).update.twin
        try first.close()
        let second = try StateDatabase(path: path)
        let store = EmbeddedTwinStore(second, limits: Limits())
        #expect(try await store.twin(self.device).twin == twin)
        #expect(try await store.events(limit: 10).count == 1)
        try second.close()
    }
}
