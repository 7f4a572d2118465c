// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import EmbeddedStore
import Hub
import HubModel
import HubTesting
import Logging
import NIOCore
import NIOPosix
import Synchronization

/// A hub with twins on a database in memory and a log that only collects.
struct TwinHub {
    let hub: Hub
    let log: CollectingLog
    let twins: any TwinStore
    let clock = TestClock()
    let loop = MultiThreadedEventLoopGroup.singleton.any()

    init(
        limits: Limits = Limits(),
        events: EventDestinations = [],
        database: StateDatabase? = nil,
        log: CollectingLog = CollectingLog()
    ) throws {
        let database = try database ?? StateDatabase.inMemory()
        let twins = EmbeddedTwinStore(database, limits: limits)
        self.log = log
        self.twins = twins
        self.hub = Hub(
            names: HubNames(hostNames: ["hub.test"]),
            limits: limits,
            stores: Stores(
                identities: EmbeddedIdentityStore(database, limits: limits),
                events: log,
                twins: twins,
                commands: try EmbeddedCommandStore(database, limits: limits),
                bus: LocalBus()
            ),
            devices: Nobody(),
            services: Nobody(),
            twinEventDestinations: events,
            metrics: HubMetrics(),
            clock: self.clock.clock,
            logger: Logger(label: "test")
        )
    }

    func create(_ ids: IdentityID..., generation: String = "1") async throws {
        for id in ids {
            let identity = RegisteredIdentity(id: id, generationID: generation, etag: "MQ==")
            _ = try await self.hub.stores.identities.apply([.put(identity, .always)])[0].get()
        }
    }

    func patch(_ id: IdentityID, _ desired: String) async throws -> Twins.Document {
        let body = ByteBuffer(string: #"{"properties":{"desired":\#(desired)}}"#)
        return try await self.hub.twins.write(id, body: body, replaces: false, ifMatch: nil)
    }

    func connect(
        _ id: IdentityID,
        generation: String = "1",
        on loop: any EventLoop = MultiThreadedEventLoopGroup.singleton.any()
    ) async throws -> TwinPeer {
        try await TwinPeer(self.hub, id, generation: generation, loop)
    }
}

/// A connected device.
struct TwinPeer: Sendable {
    final class Connection: DeviceConnection {
        var deliveries: [Delivery] = []
        var session: DeviceSession?

        let calls: AsyncStream<MethodCall>
        private let newCalls: AsyncStream<MethodCall>.Continuation

        init() {
            (self.calls, self.newCalls) = AsyncStream.makeStream()
        }

        func deliver(_ delivery: Delivery) {
            self.deliveries.append(delivery)
            if case .methodCall(let call) = delivery { self.newCalls.yield(call) }
        }
    }

    let loop: any EventLoop
    private let connection: NIOLoopBound<Connection>
    private let calls: AsyncStream<MethodCall>

    init(_ hub: Hub, _ id: IdentityID, generation: String, _ loop: any EventLoop) async throws {
        self.loop = loop
        (self.connection, self.calls) = try await loop.submit {
            let connection = Connection()
            let identity = AuthenticatedIdentity(
                id: id,
                generationID: generation,
                proof: .identityKey(.primary),
                expiresAtSeconds: nil
            )
            let ticket = hub.directory.beginSignIn(id)
            connection.session = hub.open(
                identity,
                link: DeviceLink(connection, eventLoop: loop),
                ticket: ticket
            )
            return (NIOLoopBound(connection, eventLoop: loop), connection.calls)
        }.get()
    }

    /// Runs something on the connection's loop.
    func run<Value: Sendable>(
        _ body: @escaping @Sendable (DeviceSession) throws -> EventLoopFuture<Value>
    ) async throws -> Value {
        let connection = self.connection
        let loop = self.loop
        return try await loop.flatSubmit {
            do {
                guard let session = connection.value.session else {
                    throw HubError(.unauthorized, "There is no session.")
                }
                return try body(session)
            } catch {
                return loop.makeFailedFuture(error)
            }
        }.get()
    }

    func subscribe(_ wants: Bool = true) async throws {
        let loop = self.loop
        try await self.run { session in
            session.wants(.desired, wants)
            return loop.makeSucceededVoidFuture()
        }
    }

    func takeMethods(_ wants: Bool = true) async throws {
        let loop = self.loop
        try await self.run { session in
            session.wants(.methods, wants)
            return loop.makeSucceededVoidFuture()
        }
    }

    /// The next call of a method, as soon as there is one.
    func nextCall() async throws -> MethodCall {
        for await call in self.calls { return call }
        throw CancellationError()
    }

    /// Answers a call, and says whether somebody waited for it.
    func answer(_ call: MethodCall, _ result: MethodResult) async throws -> Bool {
        let loop = self.loop
        return try await self.run { session in
            loop.makeSucceededFuture(session.respond(to: call.id.number, result))
        }
    }

    /// Ends the connection.
    func close() async throws {
        let loop = self.loop
        try await self.run { session in
            session.close()
            return loop.makeSucceededVoidFuture()
        }
    }

    /// How often the connection was told that commands wait.
    func rings() async throws -> Int {
        let connection = self.connection
        return try await self.loop.submit {
            connection.value.deliveries.count { $0 == .commandsWaiting }
        }.get()
    }

    /// The payloads of the notices that came so far.
    func notices() async throws -> [DesiredNotice] {
        let connection = self.connection
        return try await self.loop.submit {
            connection.value.deliveries.compactMap { delivery in
                if case .desiredPatch(let notice) = delivery { notice } else { nil }
            }
        }.get()
    }
}

/// Authenticates no one: these tests begin behind the sign-in.
private struct Nobody: DeviceAuthenticating, ServiceAuthenticating {
    private let error = HubError(.unauthorized, "Nobody signs in here.")

    func authenticate(
        _ id: IdentityID,
        credential: DeviceCredential,
        nowSeconds: Int64
    ) async throws -> AuthenticatedIdentity { throw self.error }

    func authenticate(
        token: String,
        dialect: TokenDialect,
        nowSeconds: Int64
    ) throws(HubError) -> ServicePrincipal { throw self.error }

    func authenticate(policy: String, key: String) throws(HubError) -> ServicePrincipal { throw self.error }

    func isStillGood(_ principal: ServicePrincipal) -> Bool { false }

    func isStillGood(policy: String, _ slot: KeySlot, since change: UInt64) -> Bool { false }
}

/// A log that keeps what is appended, or fails as long as it is told to.
final class CollectingLog: EventStore {
    private struct State {
        var batches: [EventBatch] = []
        var fails = false
    }

    private struct Watch: EventWatch {
        func cancel() {}
    }

    private let state = Mutex(State())

    let partitionCount = 4
    let createdTimeMilliseconds: Int64 = 0
    let isWritable = true

    var batches: [EventBatch] { self.state.withLock { $0.batches } }

    func fail(_ fails: Bool) {
        self.state.withLock { $0.fails = fails }
    }

    func append(_ batch: EventBatch, on eventLoop: any EventLoop) -> EventLoopFuture<EventPosition> {
        let isKept = self.state.withLock { state in
            if !state.fails { state.batches.append(batch) }
            return !state.fails
        }
        guard isKept else { return eventLoop.makeFailedFuture(HubError(.storageFull, "The disk is full.")) }
        let position = EventPosition(firstSequenceNumber: 0, firstOffset: 0, enqueuedTimeMilliseconds: 0)
        return eventLoop.makeSucceededFuture(position)
    }

    func readResident(partition: Int, from cursor: EventCursor, bytesMax: Int) -> EventSlice? { nil }

    func read(
        partition: Int,
        from cursor: EventCursor,
        bytesMax: Int,
        on eventLoop: any EventLoop
    ) -> EventLoopFuture<EventSlice> {
        eventLoop.makeSucceededFuture(EventSlice(frames: [], next: cursor))
    }

    func locate(
        partition: Int,
        _ position: StartingPosition,
        on eventLoop: any EventLoop
    ) -> EventLoopFuture<EventCursor> { eventLoop.makeSucceededFuture(EventCursor(offset: 0)) }

    func info(partition: Int) -> PartitionInfo {
        PartitionInfo(
            beginSequenceNumber: 0,
            lastSequenceNumber: -1,
            lastOffset: -1,
            lastEnqueuedTimeMilliseconds: nil,
            isEmpty: true
        )
    }

    func watch(
        partition: Int,
        on eventLoop: any EventLoop,
        wake: @escaping @Sendable () -> Void
    ) -> any EventWatch { Watch() }
}
