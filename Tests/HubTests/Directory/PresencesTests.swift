// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import HubModel
import Logging
import NIOCore
import NIOEmbedded
import Synchronization
import Testing

@testable import Hub

struct PresencesTests {
    /// A store that keeps what it is given, or fails as long as it is told to.
    private final class Store: PresenceStore {
        private struct State {
            var stored: [IdentityID: Presence] = [:]
            var puts: [Int] = []
            var fails = false
        }

        private let state = Mutex(State())

        var stored: [IdentityID: Presence] { self.state.withLock { $0.stored } }
        var puts: [Int] { self.state.withLock { $0.puts } }

        func fail(_ fails: Bool) { self.state.withLock { $0.fails = fails } }

        func presences(of ids: [IdentityID]) async throws -> [IdentityID: Presence] {
            self.stored.filter { ids.contains($0.key) }
        }

        func put(_ records: [PresenceRecord]) async throws {
            let fails = self.state.withLock { state in
                guard !state.fails else { return true }
                state.puts.append(records.count)
                for record in records { state.stored[record.id] = record.presence }
                return false
            }
            if fails { throw HubError(.storageFull, "The disk is full.") }
        }
    }

    private final class Connection: DeviceConnection {
        func deliver(_ delivery: Delivery) {}
    }

    private let id = IdentityID(device: "d")
    private let store = Store()
    private let loop = EmbeddedEventLoop()
    private let now: Time
    private let directory: Directory
    private let presences: Presences

    /// A time that a test moves.
    private final class Time: Sendable {
        let milliseconds = Mutex<Int64>(1)
    }

    init() {
        let now = Time()
        self.now = now
        self.directory = Directory(clock: HubClock { now.milliseconds.withLock { $0 } })
        self.presences = Presences(
            directory: self.directory,
            store: self.store,
            commands: NoCommands(),
            limits: PresenceLimits(),
            logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
        )
    }

    private func pass(to milliseconds: Int64) { self.now.milliseconds.withLock { $0 = milliseconds } }

    private func connect(modelID: String? = nil) throws -> (link: DeviceLink, number: UInt64) {
        let link = DeviceLink(Connection(), eventLoop: self.loop)
        let identity = AuthenticatedIdentity(
            id: self.id,
            generationID: "1",
            proof: .identityKey(.primary),
            expiresAtSeconds: nil,
            modelID: modelID
        )
        let ticket = self.directory.beginSignIn(self.id)
        guard case .registered(let number) = self.directory.register(identity, link: link, ticket: ticket) else {
            throw HubError(.internalError, "The registration is stale.")
        }
        return (link, number)
    }

    private func known() async throws -> Presence? { try await self.presences.activity(of: self.id).presence }

    @Test func `what was stored leaves memory with the connection, and is still told`() async throws {
        #expect(try await self.known() == nil)
        let (_, number) = try self.connect(modelID: "dtmi:a;1")
        await self.presences.store(includingActivity: false)
        #expect(self.store.stored[self.id]?.isConnected == true)
        self.pass(to: 7)
        self.directory.remove(self.id, connectionNumber: number)
        let gone = Presence(
            isConnected: false,
            changedMilliseconds: 7,
            lastActivityMilliseconds: 1,
            modelID: "dtmi:a;1"
        )
        #expect(try await self.known() == gone)
        #expect(self.directory.presence(of: self.id) != nil)
        await self.presences.store(includingActivity: false)
        #expect(self.directory.presence(of: self.id) == nil)
        #expect(try await self.known() == gone)
        // Nothing has changed since.
        await self.presences.store(includingActivity: true)
        #expect(self.store.puts == [1, 1])
    }

    @Test func `the activity of a connection is told at once and stored only where that is asked for`() async throws {
        let (link, _) = try self.connect()
        await self.presences.store(includingActivity: true)
        link.lastActivityMilliseconds.store(9, ordering: .relaxed)
        #expect(try await self.known()?.lastActivityMilliseconds == 9)
        #expect(try await self.known()?.changedMilliseconds == 1)
        await self.presences.store(includingActivity: false)
        #expect(self.store.stored[self.id]?.lastActivityMilliseconds == 1)
        await self.presences.store(includingActivity: true)
        #expect(self.store.stored[self.id]?.lastActivityMilliseconds == 9)
        await self.presences.store(includingActivity: true)
        #expect(self.store.puts == [1, 1])
    }

    @Test func `what could not be stored is tried again and stays in memory until then`() async throws {
        let (_, number) = try self.connect()
        self.directory.remove(self.id, connectionNumber: number)
        self.store.fail(true)
        await self.presences.store(includingActivity: false)
        #expect(try await self.known()?.isConnected == false)
        self.store.fail(false)
        await self.presences.store(includingActivity: false)
        #expect(self.store.stored[self.id]?.isConnected == false)
        #expect(self.directory.presence(of: self.id) == nil)
    }

    @Test func `a connection that came back while its end was stored is not forgotten`() async throws {
        let (_, number) = try self.connect()
        self.directory.remove(self.id, connectionNumber: number)
        let taken = self.directory.takeUnstored(includingActivity: false)
        _ = try self.connect()
        self.directory.markStored(taken)
        #expect(try await self.known()?.isConnected == true)
        #expect(self.directory.takeUnstored(includingActivity: false).map(\.presence.isConnected) == [true])
    }

    @Test func `a deleted identity is not stored any more`() async throws {
        _ = try self.connect()
        self.directory.forget(self.id)
        await self.presences.store(includingActivity: true)
        #expect(self.store.puts.isEmpty)
    }
}
