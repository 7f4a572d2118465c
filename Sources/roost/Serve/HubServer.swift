// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import AMQPFront
import EventLog
import FoundationEssentials
import Glibc
import HTTPFront
import Hub
import HubModel
import HubTransport
import Logging
import MQTTFront
import NIOCore
import ServiceLifecycle

/// A hub put together from a configuration: the one place that knows all parts.
struct HubServer: Sendable {
    /// What commands and tests find it by; in the data directory, too.
    let file: HubFile
    let directory: HubDirectory
    let hub: Hub
    let registry: Registry
    /// To be asked for certificates that were changed.
    let keeper: CertificateKeeper
    /// Those that others stand on come first: they are stopped last.
    let services: [any Service]
    /// Closes what is open, for a hub that is not to be run.
    let abandon: @Sendable () async throws -> Void

    /// Takes the data directory, opens the stores, and listens.
    ///
    /// - Throws: one error whose description says in a line what is wrong and what to do.
    static func open(
        _ configuration: Configuration,
        group: any EventLoopGroup,
        listens: Bool = true,
        logger: Logger
    ) async throws -> HubServer {
        let directory = try HubDirectory(configuration.dataDirectory)
        var limits = configuration.transport
        limits.connectionsMax = ProcessLimits.connections(
            descriptors: ProcessLimits.raiseDescriptors(),
            configured: limits.connectionsMax
        )
        let certificates = try ServerCertificates(
            configuration,
            dataDirectory: directory.path,
            limits: limits,
            logger: logger
        )
        let stores = try HubStores(configuration, dataDirectory: directory.path, logger: logger)
        do {
            let policies = try await stores.policies()
            let names = hubNames(configuration)
            let table = PolicyTable(policies, configuration)
            let hub = makeHub(configuration, stores, names, table, logger)
            try await hub.authorities.load()
            let registry = Registry(
                identities: stores.stores.identities,
                bus: stores.stores.bus,
                policies: table,
                settings: configuration.authentication,
                limits: configuration.limits,
                clock: .system
            )
            let gate = ConnectionGate(limits: limits)
            let plan = ListenerPlan(
                configuration: configuration,
                limits: limits,
                gate: gate,
                identity: certificates.identity,
                group: group,
                logger: logger
            )
            let all =
                listens
                ? plan.listeners(fronts(hub, registry, configuration, logger)) + [plan.health(pages(hub, gate, stores))]
                : []
            let listeners = ListenerGroup(listeners: all)
            try await listeners.bind()
            let file = HubFile(names, policies, configuration, certificates, listeners)
            try SecretFile.write(Array(file.encoded()), to: directory.path + "/" + HubFile.name)
            let keeper = CertificateKeeper(
                identity: certificates.identity,
                local: certificates.local,
                interval: .seconds(configuration.tls.reloadSeconds),
                logger: logger
            )
            return HubServer(
                file: file,
                directory: directory,
                hub: hub,
                registry: registry,
                keeper: keeper,
                services: [
                    StoreService(stores: stores, directory: directory, logger: logger), keeper,
                    PresenceService(presences: hub.presences),
                    TwinEventService(events: hub.twinEvents, eventLoop: group.any()),
                    CommandExpiryService(expiry: hub.commandExpiry),
                    StorageWatch(events: stores.stores.events, gate: gate, logger: logger), listeners,
                ],
                abandon: {
                    await listeners.stop()
                    try await stores.close()
                    directory.release()
                }
            )
        } catch {
            do {
                try await stores.close()
            } catch let closing {
                logger.error("the stores can't be closed", metadata: ["reason": "\(closing)"])
            }
            throw error
        }
    }

    /// Everything that runs, in one group; stopping it stops all in the right order.
    func makeGroup(logger: Logger) -> ServiceGroup {
        ServiceGroup(
            configuration: ServiceGroupConfiguration(
                services: services.map {
                    .init(
                        service: $0,
                        successTerminationBehavior: .gracefullyShutdownGroup,
                        failureTerminationBehavior: .gracefullyShutdownGroup
                    )
                },
                logger: logger
            )
        )
    }

    private static func makeHub(
        _ configuration: Configuration,
        _ stores: HubStores,
        _ names: HubNames,
        _ policies: PolicyTable,
        _ logger: Logger
    ) -> Hub {
        let authorities = AuthorityTable()
        return Hub(
            names: names,
            limits: configuration.limits,
            stores: stores.stores,
            devices: RegistryDeviceAuthenticator(
                names: names,
                identities: stores.stores.identities,
                policies: policies,
                authorities: authorities,
                settings: configuration.authentication,
                limits: configuration.limits,
                logger: logger
            ),
            services: PolicyAuthenticator(
                names: names,
                policies: policies,
                settings: configuration.authentication,
                limits: configuration.limits
            ),
            authorityTable: authorities,
            consumerGroups: ConsumerGroups(configuration.events.consumerGroups),
            metrics: HubMetrics(),
            clock: .system,
            logger: logger
        )
    }

    private static func fronts(
        _ hub: Hub,
        _ registry: Registry,
        _ configuration: Configuration,
        _ logger: Logger
    ) -> FrontInitializers {
        let authorities = hub.authorities
        let peers = PeerCertificates(limits: configuration.transport) { authorities.vouch(for: $0) }
        let mqtt = MQTTFront(hub: hub, limits: configuration.mqtt) { peers.certificates(of: $0) }
        let amqp = AMQPFront(hub: hub, limits: configuration.amqp) { peers.certificates(of: $0) }
        let http = HTTPFront(
            hub: hub,
            registry: registry,
            tunnels: ["mqtt": { mqtt.configure($0) }, "AMQPWSB10": { amqp.configure($0) }],
            limits: configuration.http,
            logger: logger
        )
        return FrontInitializers(
            mqtt: { mqtt.configure($0) },
            amqp: { amqp.configure($0) },
            http: { http.install(on: $0) }
        )
    }

    private static func pages(_ hub: Hub, _ gate: ConnectionGate, _ stores: HubStores) -> HealthHandler.Pages {
        let events = stores.stores.events
        let log = stores.log
        let figures = HubFigures(metrics: hub.metrics, gate: gate, events: events, readers: hub.readers) {
            LogFigures(log.statistics).write(to: &$0)
        }
        return HealthHandler.Pages(
            metrics: { figures.page() },
            notReady: { stores.problem }
        )
    }

    /// The names by which clients may call the hub, its own first.
    private static func hubNames(_ configuration: Configuration) -> HubNames {
        let names = SubjectNames(configured: configuration.hostNames)
        let address = configuration.listeners.address
        var all = configuration.hostNames.isEmpty ? ["localhost"] : configuration.hostNames
        for name in names.hostNames + ["127.0.0.1", "::1"] + (address == "*" ? [] : [address]) where !all.contains(name)
        {
            all.append(name)
        }
        return HubNames(hostNames: all)
    }
}

extension PolicyTable {
    fileprivate convenience init(_ policies: [SharedAccessPolicy], _ configuration: Configuration) {
        self.init(policies, allowsSampleKeys: configuration.authentication.allowsSampleKeys)
    }
}

extension HubFile {
    fileprivate init(
        _ names: HubNames,
        _ policies: [SharedAccessPolicy],
        _ configuration: Configuration,
        _ certificates: ServerCertificates,
        _ listeners: ListenerGroup
    ) {
        let address = configuration.listeners.address
        let plain = ListenerPlan.plainAddress(configuration.listeners)
        self.init(
            hostName: names.hostName,
            connectHost: Self.reachable(address),
            eventHubName: names.shortName,
            processID: getpid(),
            authorityFile: certificates.authorityFile,
            ports: Ports(
                https: listeners.port("https"),
                mqtts: listeners.port("mqtts"),
                amqps: listeners.port("amqps"),
                http: listeners.port("http"),
                mqtt: listeners.port("mqtt"),
                amqp: listeners.port("amqp"),
                metrics: listeners.port("metrics")
            ),
            plainAddress: Self.reachable(plain),
            metricsAddress: Self.reachable(configuration.listeners.metricsAddress),
            version: RoostVersion.current,
            policies: policies.map { Policy(name: $0.name, primaryKey: $0.primaryKey, secondaryKey: $0.secondaryKey) }
        )
    }

    /// Where a process on this machine finds what listens on an address.
    private static func reachable(_ address: String) -> String {
        ["*", "0.0.0.0", "::"].contains(address) ? "127.0.0.1" : address
    }
}
