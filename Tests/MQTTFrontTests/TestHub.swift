// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import EmbeddedStore
import HubModel
import HubTesting
import MQTTFront
import NIOCore
import NIOEmbedded
import Synchronization

@testable import Hub

/// A hub in this process with a registry in memory, and a clock and an event store that the test drives.
final class TestHub: Sendable {
    static let host = "h.example"
    static let key = InProcessHub.key
    static let otherKey = InProcessHub.otherKey
    static let policyKey = InProcessHub.policyKey
    static let start: Int64 = 1_700_000_000

    let hub: Hub
    let front: MQTTFront
    let events = ControlledEventStore()
    let commands: BreakableCommandStore
    /// What the hub sees of `identities`.
    let subscriptions: BreakableIdentityStore
    private let made: InProcessHub

    init(limits: MQTTFrontLimits = MQTTFrontLimits()) async throws {
        var breakable: (commands: BreakableCommandStore?, identities: BreakableIdentityStore?)
        made = try InProcessHub(
            hostNames: [Self.host],
            events: events,
            clock: TestClock(milliseconds: Self.start * 1000),
            identities: { store in
                let made = BreakableIdentityStore(store)
                breakable.identities = made
                return made
            },
            commands: { store in
                let made = BreakableCommandStore(store)
                breakable.commands = made
                return made
            }
        )
        guard let commands = breakable.commands, let identities = breakable.identities else {
            preconditionFailure("a hub asks for both stores")
        }
        self.commands = commands
        subscriptions = identities
        hub = made.hub
        front = MQTTFront(hub: hub, limits: limits)
        for id in ["d1", "d2"] { try await register(IdentityID(device: id)) }
        try await register(IdentityID(device: "d1", module: "m1"))
    }

    var identities: EmbeddedIdentityStore { made.identities }
    var twins: EmbeddedTwinStore { made.twins }

    /// Adds an identity that signs in with `key` and `otherKey`.
    func register(_ id: IdentityID, status: IdentityStatus = .enabled) async throws {
        try await made.register(id, status: status)
    }

    func setStatus(_ status: IdentityStatus, of id: IdentityID) async throws {
        try await made.register(id, status: status, isNew: false)
    }

    /// Replaces the keys that `key` and `otherKey` are.
    func changeKeys(of id: IdentityID) async throws {
        _ = try await made.registry.put(IdentityDraft(id: id), ifMatch: .any)
    }

    func delete(_ id: IdentityID) async throws {
        try await made.registry.delete(id, ifMatch: nil)
    }

    /// Moves the hub's clock, which tokens are measured by.
    func advanceClock(seconds: Int64) {
        made.clock.advance(seconds: seconds)
    }

    /// Sends a command to `d1`; returns when it is durable.
    func send(_ body: String, _ change: (inout CommandMessage) -> Void = { _ in }) async throws {
        var message = CommandMessage(to: "/devices/d1/messages/deviceBound", body: ByteBuffer(string: body))
        change(&message)
        let loop = NIOAsyncTestingEventLoop()
        let outcome = Mutex<Result<Void, any Error>?>(nil)
        hub.commands.send(message, to: "d1", on: loop).whenComplete { result in outcome.withLock { $0 = result } }
        while true {
            await loop.run()
            if let outcome = outcome.withLock({ $0 }) { return try outcome.get() }
            await Task.yield()
        }
    }

    /// The feedback that waits, locked for ever.
    func feedback() async throws -> [FeedbackRecord] {
        let now = hub.clock.milliseconds
        let request = FeedbackLockRequest(max: 64, readyMilliseconds: .max, untilMilliseconds: .max, milliseconds: now)
        return try await withCheckedThrowingContinuation { continuation in
            commands.lockFeedback(request) { result in
                continuation.resume(with: result.map { $0?.records ?? [] })
            }
        }
    }

    /// The events that are durable.
    func storedEvents() throws -> [ReceivedEvent] {
        try ReceivedEvent.all(of: events.stored)
    }

    /// A token; `resource` is signed and sent exactly as it is given.
    static func token(
        _ resource: String,
        key: String = key,
        expiresIn seconds: Int64 = 3600,
        policy: String? = nil
    ) -> String {
        TestToken.make(resource, key: key, expiry: start + seconds, policy: policy)
    }
}
