// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import Crypto
import EmbeddedStore
import FoundationEssentials
import HubModel
import Logging
import MQTTFront
import NIOCore
import NIOEmbedded
import Synchronization

@testable import Hub

/// A hub in this process with a registry in memory, and a clock and an event store that the test drives.
final class TestHub: Sendable {
    static let host = "h.example"
    static let key = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="
    static let otherKey = "ZmVkY2JhOTg3NjU0MzIxMGZlZGNiYTk4NzY1NDMyMTA="
    static let policyKey = "cG9saWN5cG9saWN5cG9saWN5cG9saWN5cG9saWN5MDE="
    static let start: Int64 = 1_700_000_000

    let hub: Hub
    let front: MQTTFront
    let events = ControlledEventStore()
    let identities: EmbeddedIdentityStore
    let twins: EmbeddedTwinStore
    let commands: BreakableCommandStore
    /// What the hub sees of `identities`.
    let subscriptions: BreakableIdentityStore
    private let registry: Registry
    private let milliseconds: Clock

    private final class Clock: Sendable {
        let now = Mutex(TestHub.start * 1000)
    }

    init(limits: MQTTFrontLimits = MQTTFrontLimits()) async throws {
        let clock = Clock()
        milliseconds = clock
        let hubClock = HubClock { clock.now.withLock { $0 } }
        let names = HubNames(hostNames: [Self.host])
        var logger = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
        logger.logLevel = .critical
        let bus = LocalBus()
        let settings = AuthenticationSettings()
        let hubLimits = Limits()
        let policies = PolicyTable([
            SharedAccessPolicy(
                name: "device",
                primaryKey: Self.policyKey,
                secondaryKey: Self.otherKey,
                rights: [.deviceConnect]
            ),
            SharedAccessPolicy(
                name: "service",
                primaryKey: Self.policyKey,
                secondaryKey: Self.otherKey,
                rights: [.serviceConnect]
            ),
        ])
        let database = try StateDatabase.inMemory()
        identities = EmbeddedIdentityStore(database, limits: hubLimits)
        twins = EmbeddedTwinStore(database, limits: hubLimits)
        commands = BreakableCommandStore(try EmbeddedCommandStore(database, limits: hubLimits))
        subscriptions = BreakableIdentityStore(identities)
        hub = Hub(
            names: names,
            limits: hubLimits,
            stores: Stores(identities: subscriptions, events: events, twins: twins, commands: commands, bus: bus),
            devices: RegistryDeviceAuthenticator(
                names: names,
                identities: identities,
                policies: policies,
                settings: settings,
                limits: hubLimits,
                logger: logger
            ),
            services: PolicyAuthenticator(names: names, policies: policies, settings: settings, limits: hubLimits),
            metrics: HubMetrics(),
            clock: hubClock,
            logger: logger
        )
        front = MQTTFront(hub: hub, limits: limits)
        registry = Registry(
            identities: identities,
            bus: bus,
            policies: policies,
            settings: settings,
            limits: hubLimits,
            clock: hubClock
        )
        for id in ["d1", "d2"] { try await register(IdentityID(device: id)) }
        try await register(IdentityID(device: "d1", module: "m1"))
    }

    /// Adds an identity that signs in with `key` and `otherKey`.
    func register(_ id: IdentityID, status: IdentityStatus = .enabled) async throws {
        var draft = IdentityDraft(id: id)
        draft.status = status
        draft.symmetricKeys = CredentialPair(primary: Self.key, secondary: Self.otherKey)
        _ = try await registry.put(draft, ifMatch: nil)
    }

    func setStatus(_ status: IdentityStatus, of id: IdentityID) async throws {
        var draft = IdentityDraft(id: id)
        draft.status = status
        draft.symmetricKeys = CredentialPair(primary: Self.key, secondary: Self.otherKey)
        _ = try await registry.put(draft, ifMatch: .any)
    }

    /// Replaces the keys that `key` and `otherKey` are.
    func changeKeys(of id: IdentityID) async throws {
        _ = try await registry.put(IdentityDraft(id: id), ifMatch: .any)
    }

    func delete(_ id: IdentityID) async throws {
        try await registry.delete(id, ifMatch: nil)
    }

    /// Moves the hub's clock, which tokens are measured by.
    func advanceClock(seconds: Int64) {
        milliseconds.now.withLock { $0 += seconds * 1000 }
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
        let expiry = start + seconds
        let secret = SymmetricKey(data: Data(base64Encoded: key) ?? Data())
        let code = HMAC<SHA256>.authenticationCode(for: Data("\(resource)\n\(expiry)".utf8), using: secret)
        let signature = Data(code).base64EncodedString()
            .replacing("+", with: "%2B").replacing("/", with: "%2F").replacing("=", with: "%3D")
        return "SharedAccessSignature sr=\(resource)&sig=\(signature)&se=\(expiry)"
            + (policy.map { "&skn=\($0)" } ?? "")
    }
}
