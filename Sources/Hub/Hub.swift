// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

public import HubModel
public import Logging

/// What a hub is called, and by what names it is reached.
public struct HubNames: Sendable, Hashable {
    /// The names that clients use in user names, audiences and addresses; the first one is the hub's own.
    public let hostNames: [String]

    /// Names a hub; `hostNames` is not empty.
    public init(hostNames: [String]) {
        precondition(!hostNames.isEmpty, "a hub has at least one host name")
        self.hostNames = hostNames
    }

    /// The hub's own host name.
    public var hostName: String { hostNames[0] }

    /// The first label of the host name, or all of it for an IP address: the name of the event hub entity.
    public var shortName: String { Self.shortName(of: hostName) }

    /// The first label of a host name, or all of an IP address.
    public static func shortName(of hostName: String) -> String {
        let isAddress = hostName.contains(":") || hostName.allSatisfy { $0 == "." || $0.isNumber }
        return isAddress ? hostName : hostName.split(separator: ".").first.map(String.init) ?? hostName
    }

    /// Says whether a host, with or without a port, is one of the hub's names; upper and lower case are alike.
    public func contains(host: some StringProtocol) -> Bool {
        let wanted = host.lowercased()
        return hostNames.contains { name in
            let own = name.lowercased()
            guard wanted.hasPrefix(own) else { return false }
            let rest = wanted.dropFirst(own.count)
            return rest.isEmpty || (rest.first == ":" && rest.dropFirst().allSatisfy(\.isNumber))
        }
    }
}

/// What the hub does, for every protocol alike: one of these stands behind all fronts.
public final class Hub: Sendable {
    /// What it is called.
    public let names: HubNames
    /// Its limits.
    public let limits: Limits
    /// The stores it stands on.
    public let stores: Stores
    /// Who may sign in as a device or a module.
    public let devices: any DeviceAuthenticating
    /// Who may act as a back end.
    public let services: any ServiceAuthenticating
    /// Who is connected.
    public let directory: Directory
    /// Which consumer groups the built-in endpoint has.
    public let consumerGroups: ConsumerGroups
    /// Who reads the built-in endpoint.
    public let readers: ReaderRegistry
    /// What is known of connections, also of those that ended.
    public let presences: Presences
    /// Its twins.
    public let twins: Twins
    /// Calls of its devices' methods.
    public let methods: Methods
    /// Commands for its devices.
    public let commands: Commands
    /// What tells the senders of commands how those ended.
    public let feedback: Feedback
    /// What ends commands whose time is over.
    public let commandExpiry: CommandExpiry
    /// What tells routes of changes of twins.
    public let twinEvents: TwinEvents
    /// The authorities whose devices may sign in.
    public let authorities: CertificateAuthorities
    /// Which identities are in a fault that they asked for; nil where none may ask.
    public let faults: FaultBoard?
    /// What it counts about itself.
    public let metrics: HubMetrics
    /// The time.
    public let clock: HubClock
    /// Where it logs.
    public let logger: Logger

    /// Puts a hub together.
    ///
    /// - Parameters:
    ///   - names: what it is called
    ///   - limits: its limits
    ///   - stores: what it stands on
    ///   - devices: who may sign in as a device or a module
    ///   - services: who may act as a back end
    ///   - authorityTable: the authorities in force, which `devices` reads
    ///   - consumerGroups: which consumer groups the built-in endpoint has
    ///   - twinEventDestinations: where events that tell of changes of twins go; none are made for nowhere
    ///   - metrics: what it counts
    ///   - clock: the time
    ///   - logger: where it logs
    public init(
        names: HubNames,
        limits: Limits,
        stores: Stores,
        devices: any DeviceAuthenticating,
        services: any ServiceAuthenticating,
        authorityTable: AuthorityTable = AuthorityTable(),
        consumerGroups: ConsumerGroups = ConsumerGroups(),
        twinEventDestinations: EventDestinations = [],
        metrics: HubMetrics,
        clock: HubClock,
        logger: Logger
    ) {
        self.names = names
        self.limits = limits
        self.stores = stores
        self.devices = devices
        self.services = services
        self.consumerGroups = consumerGroups
        readers = ReaderRegistry(readersPerPartitionMax: limits.readersPerPartitionMax)
        authorities = CertificateAuthorities(
            store: stores.authorities,
            table: authorityTable,
            bus: stores.bus,
            limits: limits,
            clock: clock,
            logger: logger
        )
        faults = limits.faults.isEnabled ? FaultBoard(limits: limits.faults) : nil
        self.metrics = metrics
        self.clock = clock
        self.logger = logger
        let directory = Directory(clock: clock)
        self.directory = directory
        let twinEvents = TwinEvents(
            destinations: twinEventDestinations,
            twins: stores.twins,
            log: stores.events,
            hubName: names.shortName,
            logger: logger
        )
        self.twinEvents = twinEvents
        let presences = Presences(
            directory: directory,
            store: stores.presences,
            commands: stores.commands,
            limits: limits.presences,
            logger: logger
        )
        self.presences = presences
        self.twins = Twins(
            store: stores.twins,
            directory: directory,
            presences: presences,
            limits: limits.twins,
            clock: clock,
            events: twinEvents
        )
        methods = Methods(
            directory: directory,
            identities: stores.identities,
            limits: limits.methods
        )
        let feedback = Feedback(store: stores.commands, limits: limits.commands.feedback, clock: clock)
        self.feedback = feedback
        let commands = Commands(
            store: stores.commands,
            directory: directory,
            feedback: feedback,
            limits: limits.commands,
            clock: clock,
            metrics: metrics
        )
        self.commands = commands
        commandExpiry = CommandExpiry(commands: commands, limits: limits.commands, logger: logger)
        stores.bus.listen { signal in
            switch signal {
            case .identityRevoked(let id, let keeping): directory.revoke(id, keeping: keeping)
            case .identityDeleted(let id): directory.forget(id)
            case .policiesChanged: directory.recheckPolicies(isStillGood: services.isStillGood(policy:_:since:))
            case .authoritiesChanged: directory.recheckAuthorities(isStillGood: devices.isStillGood(authority:))
            }
        }
    }
}
