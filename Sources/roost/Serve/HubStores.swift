// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import EmbeddedStore
import EventLog
import Hub
import HubModel
import Logging
import ServiceLifecycle

/// The stores in a data directory, open.
struct HubStores: Sendable {
    let database: StateDatabase
    let log: EventLog
    let stores: Stores

    /// Opens them, or makes them.
    ///
    /// - Throws: what the parts throw: another partition count than the directory's, a newer format, a broken file.
    init(_ configuration: Configuration, dataDirectory: String, logger: Logger) throws {
        database = try StateDatabase(
            path: Self.databasePath(dataDirectory),
            durability: configuration.durability == .fsync ? .sync : .os,
            masterKey: try MasterKey(dataDirectory: dataDirectory).bytes(),
            limits: configuration.stateStore
        )
        log = try Self.openLog(configuration, dataDirectory: dataDirectory, logger: logger)
        stores = Stores(
            identities: EmbeddedIdentityStore(database, limits: configuration.limits),
            events: EmbeddedEventStore(log: log),
            twins: EmbeddedTwinStore(database, limits: configuration.limits),
            commands: try EmbeddedCommandStore(database, limits: configuration.limits),
            authorities: EmbeddedAuthorityStore(database, limits: configuration.limits),
            presences: try EmbeddedPresenceStore(database),
            bus: LocalBus()
        )
    }

    /// The shared access policies, made at the first start.
    func policies() async throws -> [SharedAccessPolicy] {
        let stored = try await stores.identities.policies()
        guard stored.isEmpty else { return stored }
        try await stores.identities.setPolicies(Registry.newPolicies())
        return try await stores.identities.policies()
    }

    /// What they can't do now, nil where they can do all.
    var problem: String? {
        guard stores.events.isWritable else { return "messages can't be stored" }
        return database.isWritable ? nil : "changes can't be stored"
    }

    /// Syncs and closes; what was acknowledged is on the disk already.
    func close() async throws {
        await log.close()
        try database.close()
    }

    private static func openLog(
        _ configuration: Configuration,
        dataDirectory: String,
        logger: Logger
    ) throws -> EventLog {
        var log = logConfiguration(configuration, dataDirectory: dataDirectory)
        do {
            return try EventLog.open(log, logger: logger)
        } catch EventLogError.partitionCountMismatch(let existing, let requested) {
            guard configuration.events.partitionCountIsChosen else {
                log.partitionCount = existing
                return try EventLog.open(log, logger: logger)
            }
            throw PartitionCountMismatch(existing: existing, requested: requested, dataDirectory: dataDirectory)
        }
    }

    /// Where the state store is.
    static func databasePath(_ dataDirectory: String) -> String { dataDirectory + "/state.sqlite" }

    /// Where the event log is.
    static func logDirectory(_ dataDirectory: String) -> String { dataDirectory + "/events" }

    /// How the event log of a data directory is opened.
    static func logConfiguration(_ configuration: Configuration, dataDirectory: String) -> EventLogConfiguration {
        var log = configuration.eventLog
        log.directory = logDirectory(dataDirectory)
        log.partitionCount = configuration.events.partitionCount
        log.durability = configuration.durability == .fsync ? .fsync : .os
        log.retentionMilliseconds = Int64(configuration.events.retentionTimeInDays) * 86_400_000
        let megabytes = configuration.events.retentionSizeInMegabytes
        log.retentionBytes = megabytes == 0 ? Int64.max : Int64(megabytes) << 20
        return log
    }
}

/// Closes the stores when everything that uses them has stopped: the first service of the group is the last one to end.
struct StoreService: Service {
    let stores: HubStores
    let directory: HubDirectory
    let logger: Logger

    func run() async throws {
        do {
            try await gracefulShutdown()
        } catch is CancellationError {
            logger.debug("cancelled: the stores are closed at once")
        }
        try await stores.close()
        directory.release()
        logger.info("stores closed")
    }
}

/// The number of partitions that the user asked for is not the one the data directory was made with.
struct PartitionCountMismatch: Error, CustomStringConvertible {
    let existing: Int
    let requested: Int
    let dataDirectory: String

    var description: String {
        "\(dataDirectory) was made with \(existing) partitions, and \(requested) are asked for. That number can't be changed: "
            + "leave --partitions out (or give \(existing)), or begin another data directory with --data."
    }
}
