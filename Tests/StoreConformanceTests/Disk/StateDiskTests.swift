// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import Dispatch
import FoundationEssentials
import GRDB
import HubModel
import NIOCore
import Synchronization
import Testing

@testable import EmbeddedStore

/// The state database on disks that are full, on journals that readers hold, and beside other processes.
struct StateDiskTests {
    /// A database in a folder of its own, on a disk whose free space the test decides.
    private final class Place {
        let folder: URL
        let free: FreeSpace
        let database: StateDatabase
        let queue: CommandFixture

        final class FreeSpace: Sendable {
            let bytes = Atomic<Int64>(1 << 40)
        }

        var path: String { self.folder.path + "/state.sqlite" }
        var reserve: String { self.path + "-reserve" }

        init(_ change: (inout StateDatabaseLimits) -> Void = { _ in }) throws {
            var limits = StateDatabaseLimits()
            limits.reserveBytes = 1 << 20
            change(&limits)
            self.folder = FileManager.default.temporaryDirectory.appending(path: "roost-disk-\(UUID().uuidString)")
            try FileManager.default.createDirectory(at: self.folder, withIntermediateDirectories: true)
            self.free = FreeSpace()
            let path = self.folder.path + "/state.sqlite"
            let disk = StateDisk(path: path, limits: limits) { [free] in free.bytes.load(ordering: .relaxed) }
            self.database = try StateDatabase(path: path, on: disk, durability: .os, limits: limits)
            self.queue = try CommandFixture(self.database)
        }

        deinit { try? FileManager.default.removeItem(at: self.folder) }

        /// Lets the database file grow no further than it is.
        func forbidGrowth() throws {
            try self.database.writer.writeWithoutTransaction { database in
                let pages = try Int.fetchOne(database, sql: "PRAGMA page_count") ?? 0
                try database.execute(sql: "PRAGMA max_page_count = \(pages)")
            }
        }

        func largeCommand(_ id: String) -> CommandDraft {
            var message = self.queue.message(id)
            message.body = ByteBuffer(repeating: 0x2e, count: 60_000)
            return CommandDraft(
                device: "d",
                message: message,
                expiresMilliseconds: CommandFixture.milliseconds(3600),
                milliseconds: CommandFixture.milliseconds(0)
            )
        }

        /// Has the writer wait until the returned closure is called: what is submitted meanwhile is committed together.
        func holdWriter() async -> () -> Void {
            let gate = DispatchSemaphore(value: 0)
            await withCheckedContinuation { continuation in
                self.database.group.submit(.frees) { _ in
                    continuation.resume()
                    gate.wait()
                } done: { _ in
                }
            }
            return { gate.signal() }
        }
    }

    @Test func `a disk that is almost full takes nothing new and lets all else go on`() async throws {
        let place = try Place()
        let queue = place.queue
        try await queue.create("d", "other")
        try await queue.enqueue("waiting", .full)
        place.free.bytes.store((32 << 20) - 1, ordering: .relaxed)

        #expect(await queue.code { try await queue.enqueue("new") } == .storageFull)
        #expect(await queue.code { try await queue.create("third") } == .storageFull)
        let twins = EmbeddedTwinStore(place.database, limits: Limits())
        let change = try TwinChange(reportedBody: ByteBuffer(string: #"{"a":1}"#), ifVersion: nil, limits: TwinLimits())
        let step = TwinStep(id: IdentityID(device: "d"), change: change, milliseconds: 0)
        #expect(await queue.code { _ = try await twins.update(step) } == .storageFull)
        #expect(!place.database.isWritable)

        let locked = try #require(try await queue.lock().commands.first)
        try await queue.settle(locked.token, .completed)
        let feedback = try #require(try await queue.feedback())
        try await queue.settleFeedback(feedback.token, .completed)
        var disabled = RegisteredIdentity(id: IdentityID(device: "other"), generationID: "1", etag: "f")
        disabled.status = .disabled
        _ = try await queue.identities.apply([.put(disabled, .matches(etag: "e"))])[0].get()
        try await queue.delete("other")
        #expect(try await queue.count() == 0)

        place.free.bytes.store(1 << 40, ordering: .relaxed)
        try await queue.enqueue("new")
        #expect(place.database.isWritable)
    }

    @Test func `a step that finds the disk full takes none of those beside it with it`() async throws {
        let place = try Place()
        let queue = place.queue
        try await queue.create("d")
        for id in ["a", "b", "c"] { _ = try await queue.enqueue(place.largeCommand(id)) }
        let locked = try await queue.lock().commands
        try place.forbidGrowth()
        #expect(FileManager.default.fileExists(atPath: place.reserve))

        let letGo = await place.holdWriter()
        async let settled = queue.settle(locked[0].token, .completed)
        let refusals = [place.largeCommand("x"), place.largeCommand("y"), place.largeCommand("z")].map { draft in
            Task { await queue.code { _ = try await queue.enqueue(draft) } }
        }
        async let other = queue.settle(locked[1].token, .completed)
        letGo()
        #expect(try await settled.endedCount == 1)
        #expect(try await other.endedCount == 1)
        for refusal in refusals { _ = await refusal.value }
        #expect(try await queue.count() >= 1)
    }

    @Test func `where a step finds the disk full the reserve is given up and made again`() async throws {
        let place = try Place()
        let queue = place.queue
        try await queue.create("d")
        _ = try await queue.enqueue(place.largeCommand("a"))
        let locked = try await queue.lock().commands
        try place.forbidGrowth()
        // Not as a failure of the store that nobody knows the reason of: SQLite takes the whole transaction back.
        #expect(await queue.code { _ = try await queue.enqueue(place.largeCommand("b")) } == .storageFull)
        #expect(!place.database.isWritable)
        #expect(!FileManager.default.fileExists(atPath: place.reserve))
        try await queue.settle(locked[0].token, .completed)
        #expect(place.database.isWritable)
        #expect(FileManager.default.fileExists(atPath: place.reserve))
    }

    @Test func `a hub whose disk is full starts out of the reserve`() async throws {
        let place = try Place()
        try await place.queue.create("d")
        #expect(FileManager.default.fileExists(atPath: place.reserve))
        var limits = StateDatabaseLimits()
        limits.reserveBytes = 1 << 20
        let disk = StateDisk(path: place.path, limits: limits) { 0 }
        let database = try StateDatabase(path: place.path, on: disk, limits: limits)
        #expect(!FileManager.default.fileExists(atPath: place.reserve))
        let queue = try CommandFixture(database)
        #expect(await queue.code { try await queue.enqueue("new") } == .storageFull)
        #expect(!FileManager.default.fileExists(atPath: place.reserve))
        try database.close()
    }

    @Test func `an identity is not stored without the twin that it was to have`() async throws {
        let place = try Place()
        try await place.queue.create("d")
        try place.forbidGrowth()
        let values = (0..<8).map { #""t\#($0)":"\#(String(repeating: "x", count: 4000))""# }
        let body = ByteBuffer(string: #"{"properties":{"desired":{\#(values.joined(separator: ","))}}}"#)
        let id = IdentityID(device: "new")
        let step = IdentityStep(
            .put(RegisteredIdentity(id: id, generationID: "1", etag: "e"), .absent),
            twin: TwinStep(
                id: id,
                change: try TwinChange(serviceBody: body, replaces: true, limits: TwinLimits()),
                milliseconds: 0
            )
        )
        #expect(await place.queue.code { _ = try await place.queue.identities.apply([step]) } == .storageFull)
        #expect(try await place.queue.identities.identity(id) == nil)
    }

    @Test func `more waiting bytes than the limit are refused`() async throws {
        let place = try Place { $0.waitingBytesMax = 100_000 }
        let queue = place.queue
        try await queue.create("d")
        let letGo = await place.holdWriter()
        let (answers, report) = AsyncStream.makeStream(of: HubErrorCode?.self)
        for id in ["a", "b", "c"] {
            queue.store.enqueue(place.largeCommand(id)) { outcome in
                if case .failure(let error) = outcome { report.yield(error.code) } else { report.yield(nil) }
            }
        }
        letGo()
        var codes: [HubErrorCode?] = []
        for await code in answers {
            codes.append(code)
            if codes.count == 3 { break }
        }
        #expect(codes == [.serviceUnavailable, nil, nil])
        #expect(try await queue.count() == 2)
    }

    @Test func `a journal that readers kept from being begun anew is cut when they let go`() async throws {
        let place = try Place { limits in
            limits.journalBytesMax = 256 << 10
            limits.commitsPerLook = 16
            limits.readersMax = 1
        }
        let gate = DispatchSemaphore(value: 0)
        try await place.queue.create("d")
        await withCheckedContinuation { continuation in
            place.database.reader.asyncRead { database in
                #expect(throws: Never.self) {
                    _ = try Row.fetchOne(try database.get(), sql: "SELECT 1 FROM identities")
                }
                continuation.resume()
                gate.wait()
            }
        }
        for number in 0..<16 { _ = try await place.queue.enqueue(place.largeCommand("\(number)")) }
        #expect(self.size(place.path + "-wal") > 256 << 10)
        gate.signal()
        await withCheckedContinuation { continuation in
            // There is one connection to read with: this waits for the first to be done.
            place.database.reader.asyncRead { _ in continuation.resume() }
        }
        for _ in 0..<16 { try await place.queue.create("d") }
        #expect(self.size(place.path + "-wal") < 256 << 10)
        let patience = try await place.database.writer.write { try Int.fetchOne($0, sql: "PRAGMA busy_timeout") }
        #expect(patience == StateDatabaseLimits().busyMilliseconds)
    }

    @Test func `a backup changes nothing and needs not wait for the writer`() async throws {
        let place = try Place()
        try await place.queue.create("d")
        try await place.database.writer.write { database in
            // As an older program left it.
            try database.execute(sql: "DROP TABLE certificateAuthorities")
            try database.execute(sql: "DELETE FROM grdb_migrations WHERE identifier LIKE '5 %'")
        }
        let letGo = await place.holdWriter()
        let copy = place.folder.path + "/copy.sqlite"
        try StateDatabase.backup(place.path, to: copy)
        letGo()
        let isThere = try await place.database.writer.read { try $0.tableExists("certificateAuthorities") }
        #expect(!isThere)
        let opened = try StateDatabase(path: copy)
        #expect(try await EmbeddedIdentityStore(opened, limits: Limits()).devices(after: nil, limit: 9).count == 1)
        #expect(try await opened.writer.read { try $0.tableExists("certificateAuthorities") })
        try opened.close()
    }

    @Test func `a backup of a hub that crashed holds what is in its journal only`() async throws {
        let place = try Place()
        try await place.queue.create("d")
        let crashed = place.folder.path + "/crashed"
        try FileManager.default.createDirectory(atPath: crashed, withIntermediateDirectories: true)
        for name in ["state.sqlite", "state.sqlite-wal"] {
            try FileManager.default.copyItem(atPath: "\(place.folder.path)/\(name)", toPath: "\(crashed)/\(name)")
        }
        try StateDatabase.backup("\(crashed)/state.sqlite", to: "\(crashed)/copy.sqlite")
        let opened = try StateDatabase(path: "\(crashed)/copy.sqlite")
        #expect(try await EmbeddedIdentityStore(opened, limits: Limits()).devices(after: nil, limit: 9).count == 1)
        try opened.close()
    }

    private func size(_ path: String) -> Int {
        let attributes = try? FileManager.default.attributesOfItem(atPath: path)
        return Int(attributes?[.size] as? UInt64 ?? UInt64(attributes?[.size] as? Int ?? 0))
    }
}
