// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

public import EmbeddedStore
public import Hub
public import HubModel
import Logging

/// A hub in this process: registry, twins and commands in memory, on an event store and a clock that the test drives.
public final class InProcessHub: Sendable {
    /// The first key of every identity that ``register(_:status:isNew:)`` adds.
    public static let key = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="
    /// The second key of identities and policies.
    public static let otherKey = "ZmVkY2JhOTg3NjU0MzIxMGZlZGNiYTk4NzY1NDMyMTA="
    /// The first key of the policies.
    public static let policyKey = "cG9saWN5cG9saWN5cG9saWN5cG9saWN5cG9saWN5MDE="

    /// The hub.
    public let hub: Hub
    /// Its registry.
    public let registry: Registry
    /// Its policies.
    public let policies: PolicyTable
    /// What the hub's time is.
    public let clock: TestClock
    /// The identities, in memory; signing in and the registry ask them whatever the hub asks.
    public let identities: EmbeddedIdentityStore
    /// The twins, in memory.
    public let twins: EmbeddedTwinStore

    /// Makes a hub without identities.
    ///
    /// - Parameters:
    ///   - hostNames: the names that it answers to.
    ///   - policies: its policies.
    ///   - events: where its events go.
    ///   - clock: what its time is.
    ///   - limits: its limits.
    ///   - breakableIdentities: makes what the hub asks for identities of those in memory, for tests of a store that fails.
    ///   - breakableCommands: the same for commands.
    /// - Throws: what the database throws.
    public init(
        hostNames: [String],
        policies: [SharedAccessPolicy] = InProcessHub.policies(),
        events: any EventStore,
        clock: TestClock,
        limits: Limits = Limits(),
        identities breakableIdentities: (any IdentityStore) -> any IdentityStore = { $0 },
        commands breakableCommands: (any CommandStore) -> any CommandStore = { $0 }
    ) throws {
        let logger = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
        let names = HubNames(hostNames: hostNames)
        let bus = LocalBus()
        let settings = AuthenticationSettings()
        let table = PolicyTable(policies)
        let database = try StateDatabase.inMemory()
        let identities = EmbeddedIdentityStore(database, limits: limits)
        let twins = EmbeddedTwinStore(database, limits: limits)
        self.identities = identities
        self.twins = twins
        self.clock = clock
        self.policies = table
        self.hub = Hub(
            names: names,
            limits: limits,
            stores: Stores(
                identities: breakableIdentities(identities),
                events: events,
                twins: twins,
                commands: breakableCommands(try EmbeddedCommandStore(database, limits: limits)),
                bus: bus
            ),
            devices: RegistryDeviceAuthenticator(
                names: names,
                identities: identities,
                policies: table,
                settings: settings,
                limits: limits,
                logger: logger
            ),
            services: PolicyAuthenticator(names: names, policies: table, settings: settings, limits: limits),
            metrics: HubMetrics(),
            clock: clock.clock,
            logger: logger
        )
        self.registry = Registry(
            identities: identities,
            bus: bus,
            policies: table,
            settings: settings,
            limits: limits,
            clock: clock.clock
        )
    }

    /// A policy for devices and one for services.
    public static func policies(deviceKey: String = policyKey) -> [SharedAccessPolicy] {
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

    /// Adds an identity that signs in with ``key`` and ``otherKey``, or changes one to that.
    public func register(_ id: IdentityID, status: IdentityStatus = .enabled, isNew: Bool = true) async throws {
        var draft = IdentityDraft(id: id)
        draft.status = status
        draft.symmetricKeys = CredentialPair(primary: Self.key, secondary: Self.otherKey)
        _ = try await self.registry.put(draft, ifMatch: isNew ? nil : .any)
    }

    /// A token that is valid from now on; `resource` is signed and sent exactly as it is given.
    public func token(
        _ resource: String,
        key: String = key,
        expiresIn seconds: Int64 = 3600,
        policy: String? = nil
    ) -> String {
        TestToken.make(resource, key: key, expiry: self.hub.clock.seconds + seconds, policy: policy)
    }
}
