// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import AsyncHTTPClient
import EventLog
import FoundationEssentials
import Glibc
import Hub
import HubClient
import HubModel
import HubTransport
import Logging
import NIOCore
import NIOHTTP1
import NIOPosix
import ServiceLifecycle
import Synchronization

@testable import roost

/// A whole hub in this process: real stores in a directory of its own, real sockets on free ports of 127.0.0.1.
final class RunningHub: Sendable {
    let server: HubServer
    let log: CapturedLog
    private let group: ServiceGroup
    private let running: Task<Void, any Error>

    private init(server: HubServer, log: CapturedLog, logger: Logger) {
        self.server = server
        self.log = log
        let group = server.makeGroup(logger: logger)
        self.group = group
        running = Task { try await group.run() }
    }

    static func configuration(_ directory: TemporaryDirectory) -> Configuration {
        var configuration = Configuration()
        configuration.dataDirectory = directory.path + "/data"
        configuration.hostNames = ["hub1.test"]
        configuration.listeners.address = "127.0.0.1"
        configuration.listeners.plain = true
        configuration.listeners.mqtts = 0
        configuration.listeners.amqps = 0
        configuration.listeners.https = 0
        configuration.listeners.mqtt = 0
        configuration.listeners.amqp = 0
        configuration.listeners.http = 0
        configuration.listeners.metrics = 0
        configuration.eventLog.fileBytes = 16 << 20
        configuration.transport.drainTimeout = .seconds(5)
        return configuration
    }

    static func start(
        in directory: TemporaryDirectory,
        change: (inout Configuration) -> Void = { _ in }
    ) async throws -> RunningHub {
        var configuration = configuration(directory)
        change(&configuration)
        let log = CapturedLog()
        let logger = Logger(label: "test") { _ in log.handler }
        let server = try await HubServer.open(
            configuration,
            group: MultiThreadedEventLoopGroup.singleton,
            logger: logger
        )
        return RunningHub(server: server, log: log, logger: logger)
    }

    /// Stops as SIGTERM does, and returns when all is closed.
    func stop() async throws {
        await group.triggerGracefulShutdown()
        try await running.value
    }

    /// Registers a device and returns its first key.
    func makeDevice(_ id: String) async throws -> String {
        let identity = try await server.registry.put(IdentityDraft(id: IdentityID(device: id)), ifMatch: nil)
        return identity.symmetricKeys.primary ?? ""
    }

    func device(_ id: String, key: String, plain: Bool = false) async throws -> DeviceClient {
        let signIn = DeviceSignIn(hostName: server.file.hostName, deviceID: id, key: key)
        var address = try server.file.address(plain: false)
        if plain, let port = server.file.ports.mqtt {
            address.isPlain = true
            address.mqttPort = port
        }
        return try await DeviceClient.connect(signIn, to: address)
    }

    /// How many events the log holds.
    func eventCount() -> Int64 {
        let events = server.hub.stores.events
        return (0..<events.partitionCount).reduce(0) { total, partition in
            let info = events.info(partition: partition)
            return total + max(0, info.lastSequenceNumber + 1)
        }
    }

    func get(_ path: String) async throws -> (status: UInt, body: String) {
        let port = server.file.ports.metrics ?? 0
        let request = HTTPClientRequest(url: "http://127.0.0.1:\(port)\(path)")
        let response = try await HTTPClient.shared.execute(request, timeout: .seconds(10))
        let body = try await response.body.collect(upTo: 1 << 20)
        return (response.status.code, String(buffer: body))
    }
}

/// Everything that was logged, at every level.
final class CapturedLog: Sendable {
    private let lines = Mutex<[String]>([])

    var text: String { lines.withLock { $0.joined(separator: "\n") } }

    var handler: some LogHandler { Handler(log: self) }

    private struct Handler: LogHandler {
        let log: CapturedLog
        var logLevel = Logger.Level.trace
        var metadata: Logger.Metadata = [:]

        init(log: CapturedLog) { self.log = log }

        subscript(metadataKey key: String) -> Logger.Metadata.Value? {
            get { metadata[key] }
            set { metadata[key] = newValue }
        }

        func log(event: LogEvent) {
            let error = event.error.map { " \($0)" } ?? ""
            log.lines.withLock {
                $0.append("\(event.level) \(event.message) \(metadata) \(event.metadata ?? [:])\(error)")
            }
        }
    }
}
