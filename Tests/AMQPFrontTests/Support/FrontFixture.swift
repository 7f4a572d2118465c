// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import AMQP
import AMQPFront
import FoundationEssentials
import Hub
import HubModel
import HubTesting
import Logging
import NIOCore
import NIOEmbedded
import Synchronization
import Testing

/// A hub on scripted events, its AMQP front, and clients that speak to it through the engine in client role.
final class FrontFixture {
    static let hostName = "myhub.example.net"
    static let keys = [
        "service": ["c2VydmljZS1wcmltYXJ5LWtleS0wMTIzNDU2Nzg5YWI=", "c2VydmljZS1zZWNvbmRhcnkta2V5LTAxMjM0NTY3ODk="],
        "registryRead": [
            "cmVnaXN0cnktcHJpbWFyeS1rZXktMDEyMzQ1Njc4OWE=", "cmVnaXN0cnktc2Vjb25kYXJ5LWtleS0wMTIzNDU2Nzg=",
        ],
    ]

    let loop = EmbeddedEventLoop()
    let store: ScriptedEventStore
    let commands = ScriptedCommandStore()
    let policies: PolicyTable
    let hub: Hub
    let front: AMQPFront
    private let time = TestClock(milliseconds: 1_700_000_000_000)

    final class Bus: HubBus {
        let listeners = Mutex<[@Sendable (HubSignal) -> Void]>([])
        func broadcast(_ signal: HubSignal) { for listener in listeners.withLock({ $0 }) { listener(signal) } }
        func listen(_ receive: @escaping @Sendable (HubSignal) -> Void) { listeners.withLock { $0.append(receive) } }
    }

    struct NoIdentities: IdentityStore {
        func identity(_ id: IdentityID) async throws -> RegisteredIdentity? { nil }
        func modules(of device: String) async throws -> [RegisteredIdentity] { [] }
        func submit(_ steps: [IdentityStep], committed: @escaping @Sendable (StepsAnswer) -> Void) {
            committed(.success([]))
        }
        func devices(after id: String?, limit: Int) async throws -> [RegisteredIdentity] { [] }
        func deviceCounts() async throws -> (total: Int, enabled: Int) { (0, 0) }
        func policies() async throws -> [SharedAccessPolicy] { [] }
        func setPolicies(_ policies: [SharedAccessPolicy]) async throws {}
        func subscriptions(of id: IdentityID) async throws -> [SubscriptionFilter] { [] }
        func addSubscriptions(_ filters: [SubscriptionFilter], of id: IdentityID) async throws {}
        func removeSubscriptions(_ filters: [String]?, of id: IdentityID) async throws {}
    }

    struct NoDevices: DeviceAuthenticating {
        func authenticate(
            _ id: IdentityID,
            credential: DeviceCredential,
            nowSeconds: Int64
        ) async throws -> AuthenticatedIdentity { throw HubError(.unauthorized, "no") }
    }

    init(
        partitionCount: Int = 4,
        groups: [String] = ["second"],
        limits: AMQPFrontLimits = AMQPFrontLimits()
    ) {
        let clock = time.clock
        store = ScriptedEventStore(partitionCount: partitionCount, clock: clock)
        policies = PolicyTable(Self.policies())
        let names = HubNames(hostNames: [Self.hostName, "other.example.org"])
        hub = Hub(
            names: names,
            limits: Limits(),
            stores: Stores(identities: NoIdentities(), events: store, commands: commands, bus: Bus()),
            devices: NoDevices(),
            services: PolicyAuthenticator(names: names, policies: policies, settings: .init(), limits: Limits()),
            consumerGroups: ConsumerGroups(groups),
            metrics: HubMetrics(),
            clock: clock,
            logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
        )
        front = AMQPFront(hub: hub, limits: limits)
    }

    static func policies(_ keys: [String: [String]] = keys) -> [SharedAccessPolicy] {
        keys.map { name, pair in
            SharedAccessPolicy(
                name: name,
                primaryKey: pair[0],
                secondaryKey: pair[1],
                rights: name == "service" ? .serviceConnect : .registryRead
            )
        }
    }

    func advance(seconds: Int64) {
        time.advance(seconds: seconds)
        loop.advanceTime(by: .seconds(seconds))
    }

    var nowSeconds: Int64 { hub.clock.seconds }

    /// A token for an audience, with the key taken as text or decoded.
    func token(
        _ audience: String = "sb://myhub.example.net/myhub",
        policy: String = "service",
        slot: Int = 0,
        expiresIn: Int64 = 3600,
        hubDialect: Bool = false,
        lowerCase: Bool = false
    ) -> String {
        let text = Self.keys[policy]?[slot] ?? ""
        let key = hubDialect ? Data(base64Encoded: text) ?? Data() : Data(text.utf8)
        let resource = Self.escape(audience, lowerCase: lowerCase)
        let expiry = nowSeconds + expiresIn
        return TestToken.make(resource, secret: key, expiry: expiry, policy: policy)
    }

    private static func escape(_ text: String, lowerCase: Bool) -> String {
        text.utf8.map { byte in
            let character = Character(Unicode.Scalar(byte))
            if character.isLetter || character.isNumber || "-_.~".contains(character) { return String(character) }
            let hex = String(byte, radix: 16, uppercase: !lowerCase)
            return "%" + (hex.count < 2 ? "0" + hex : hex)
        }.joined()
    }

    // MARK: Devices

    final class NoConnection: DeviceConnection {
        func deliver(_ delivery: Delivery) {}
    }

    /// Stores one event of a device, in its partition; `index` of several in one batch.
    @discardableResult
    func publish(
        _ bodies: [String],
        device: String = "dev1",
        properties: [(String, String)] = [],
        system: [(SystemProperty, String)] = []
    ) throws -> Int {
        let id = IdentityID(device: device)
        let identity = AuthenticatedIdentity(
            id: id,
            generationID: "638300000000000000",
            proof: .identityKey(.primary),
            expiresAtSeconds: nil
        )
        let link = DeviceLink(NoConnection(), eventLoop: loop)
        let session = try #require(hub.open(identity, link: link, ticket: hub.directory.beginSignIn(id)))
        var batch = session.makeBatch(allocator: ByteBufferAllocator(), capacity: 1024)
        for body in bodies {
            batch.begin()
            for (name, value) in properties {
                Array(name.utf8).withUnsafeBytes { name in
                    Array(value.utf8).withUnsafeBytes { batch.applicationProperty(name, $0) }
                }
            }
            for (property, value) in system { Array(value.utf8).withUnsafeBytes { batch.systemProperty(property, $0) } }
            let isWithinSize = batch.finish(body: ByteBuffer(string: body))
            #expect(isWithinSize)
        }
        _ = session.publish(batch)
        session.close()
        loop.run()
        return PartitionHash.partition(of: device, partitionCount: store.partitionCount)
    }

    // MARK: Clients

    /// A client that has opened its connection and begun a session; nil stands for the plain header.
    func client(
        _ sasl: SASLInit? = SASLInit(mechanism: "ANONYMOUS"),
        limits: AMQPLimits = .init()
    ) throws -> FrontClient {
        let client = try FrontClient(self, sasl, limits)
        client.run()
        return client
    }

    /// A client that has put a token for the whole hub.
    func service(limits: AMQPLimits = .init()) throws -> FrontClient { try reader("myhub.example.net", limits: limits) }

    /// A client that has put a token.
    func reader(_ audience: String = "sb://myhub.example.net/myhub", limits: AMQPLimits = .init()) throws -> FrontClient
    {
        let client = try client(limits: limits)
        #expect(try client.putToken(token(audience)) == 200)
        return client
    }
}
