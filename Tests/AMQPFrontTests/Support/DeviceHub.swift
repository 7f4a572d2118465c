// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import AMQP
import Crypto
import EmbeddedStore
import FoundationEssentials
import HubModel
import Logging
import NIOCore
import Synchronization

@testable import AMQPFront
@testable import Hub

/// A hub with a registry in memory, and a clock and an event store that the test drives.
final class DeviceHub: Sendable {
    static let host = "myhub.example.net"
    static let key = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="
    static let otherKey = "ZmVkY2JhOTg3NjU0MzIxMGZlZGNiYTk4NzY1NDMyMTA="
    static let policyKey = "cG9saWN5cG9saWN5cG9saWN5cG9saWN5cG9saWN5MDE="
    static let start: Int64 = 1_700_000_000

    let hub: Hub
    let front: AMQPFront
    let events: ScriptedEventStore
    let policies: PolicyTable
    let registry: Registry
    private let clock: Clock

    private final class Clock: Sendable {
        let now = Mutex(DeviceHub.start * 1000)
    }

    init(
        _ ids: [IdentityID] = [
            IdentityID(device: "d1"), IdentityID(device: "d2"), IdentityID(device: "d1", module: "m1"),
        ],
        limits: AMQPFrontLimits = AMQPFrontLimits(),
        certificates: [[UInt8]] = []
    ) async throws {
        let clock = Clock()
        self.clock = clock
        let hubClock = HubClock { clock.now.withLock { $0 } }
        let names = HubNames(hostNames: [Self.host])
        let logger = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
        let bus = LocalBus()
        let settings = AuthenticationSettings()
        let hubLimits = Limits()
        policies = PolicyTable(Self.policies())
        let database = try StateDatabase.inMemory()
        let identities = EmbeddedIdentityStore(database, limits: hubLimits)
        events = ScriptedEventStore(partitionCount: 2, clock: hubClock)
        hub = Hub(
            names: names,
            limits: hubLimits,
            stores: Stores(
                identities: identities,
                events: events,
                twins: EmbeddedTwinStore(database, limits: hubLimits),
                commands: try EmbeddedCommandStore(database, limits: hubLimits),
                bus: bus
            ),
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
        front = AMQPFront(hub: hub, limits: limits) { _ in certificates }
        registry = Registry(
            identities: identities,
            bus: bus,
            policies: policies,
            settings: settings,
            limits: hubLimits,
            clock: hubClock
        )
        for id in ids { try await register(id) }
    }

    static func policies(deviceKey: String = policyKey) -> [SharedAccessPolicy] {
        [
            SharedAccessPolicy(
                name: "device",
                primaryKey: deviceKey,
                secondaryKey: otherKey,
                rights: [.deviceConnect]
            ),
            SharedAccessPolicy(
                name: "service",
                primaryKey: policyKey,
                secondaryKey: otherKey,
                rights: [.serviceConnect]
            ),
        ]
    }

    func register(_ id: IdentityID, status: IdentityStatus = .enabled, isNew: Bool = true) async throws {
        var draft = IdentityDraft(id: id)
        draft.status = status
        draft.symmetricKeys = CredentialPair(primary: Self.key, secondary: Self.otherKey)
        _ = try await registry.put(draft, ifMatch: isNew ? nil : .any)
    }

    func disable(_ id: IdentityID) async throws { try await register(id, status: .disabled, isNew: false) }

    /// Moves the hub's clock, which tokens are measured by.
    func advanceClock(seconds: Int64) { clock.now.withLock { $0 += seconds * 1000 } }

    var nowSeconds: Int64 { hub.clock.seconds }

    /// A token; `resource` is signed and sent exactly as it is given.
    func token(
        _ resource: String,
        key: String = key,
        expiresIn seconds: Int64 = 3600,
        policy: String? = nil
    ) -> String {
        let expiry = nowSeconds + seconds
        let secret = SymmetricKey(data: Data(base64Encoded: key) ?? Data())
        let code = HMAC<SHA256>.authenticationCode(for: Data("\(resource)\n\(expiry)".utf8), using: secret)
        let signature = Data(code).base64EncodedString()
            .replacing("+", with: "%2B").replacing("/", with: "%2F").replacing("=", with: "%3D")
        return "SharedAccessSignature sr=\(resource)&sig=\(signature)&se=\(expiry)"
            + (policy.map { "&skn=\($0)" } ?? "")
    }

    /// The token of an identity, in the plainest form.
    func token(of id: IdentityID, expiresIn seconds: Int64 = 3600) -> String {
        token("\(Self.host)/\(ConnectionIdentities.path(id))", expiresIn: seconds)
    }

    /// The events that are stored, as readers see them.
    func storedEvents() throws -> [Message] {
        try events.frames.flatMap { frame in
            try frame.entries.compactMap { entry -> Message? in
                guard
                    let record = EventRecord(
                        in: frame.records,
                        payloadAt: entry.payloadStart,
                        count: entry.payloadCount
                    )
                else { return nil }
                let event = EventMessage(record, entry, of: frame, metrics: nil)
                var buffer = ByteBuffer()
                buffer.writeWithUnsafeMutableBytes(minimumWritableBytes: event.byteCount) { room in
                    guard let start = room.baseAddress else { return 0 }
                    return event.write(to: start) - start
                }
                return try Message(payload: buffer)
            }
        }
    }
}

extension Message {
    /// The body as text.
    var bodyText: String { String(buffer: dataBody) }
}
