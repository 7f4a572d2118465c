// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import FoundationEssentials
import Glibc
import HubTransport
import Logging
import NIOCore
import NIOPosix
import ServiceLifecycle

/// `roost serve`: the hub.
struct ServeCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "serve",
        abstract: "Run a hub.",
        discussion: """
            Nothing needs to be configured: the first start makes a data directory with certificates and keys, and prints \
            how to connect.

            Every setting can stand in the file, in the environment and on the command line, and the last of these wins; \
            docs/configuration.md explains them all. In the environment they are:

            \(Setting.all.map(\.environmentName).joined(separator: "\n"))
            """
    )

    @OptionGroup var options: ServeOptions

    func run() async throws {
        signal(SIGPIPE, SIG_IGN)
        try await CommandFailure.reported {
            let start = try HubStart(options)
            try await start.serve()
        }
    }
}

/// `roost init`: makes everything that a hub needs, and tells how to connect, without serving.
struct InitCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "init",
        abstract: "Make the data directory, certificates and keys of a hub without running it."
    )

    @OptionGroup var options: ServeOptions

    func run() async throws {
        try await CommandFailure.reported {
            let start = try HubStart(options)
            try await start.initialize()
        }
    }
}

/// What `serve` and `init` have in common.
struct HubStart {
    private let configuration: Configuration
    private let sink: LogSink
    private let logger: Logger

    init(_ options: ServeOptions) throws {
        let loaded = try options.load(environment: ProcessInfo.processInfo.environment)
        configuration = loaded.configuration
        let sink = LogSink(descriptor: STDERR_FILENO)
        let (format, level) = (loaded.configuration.log.format, loaded.configuration.log.level)
        self.sink = sink
        logger = Logger(label: "roost") { label in
            HubLogHandler(label: label, format: format, level: Logger.Level(level), sink: sink)
        }
        for warning in loaded.warnings { logger.warning("\(warning)") }
    }

    func serve() async throws {
        defer { sink.flush() }
        let loops = configuration.eventLoops == 0 ? System.coreCount : configuration.eventLoops
        let group = MultiThreadedEventLoopGroup(numberOfThreads: loops)
        let server = try await HubServer.open(configuration, group: group, logger: logger)
        let services = server.makeGroup(logger: logger)
        // Before it says that it is ready: whoever waits for that may stop it at once.
        let signals = await StopSignals(
            stop: {
                logger.info(
                    "stopping: no new connections, what is in flight is finished; a second signal stops at once"
                )
                await services.triggerGracefulShutdown()
            },
            reload: { server.keeper.check(now: Date()) },
            log: sink
        )
        try await withThrowingTaskGroup(of: Void.self) { tasks in
            tasks.addTask { await signals.run() }
            tasks.addTask { try await services.run() }
            StandardStreams.output(try banner(server).text(isServing: true) + "roost is ready\n")
            // The signals never end by themselves.
            try await tasks.next()
            tasks.cancelAll()
        }
        logger.info("stopped")
        try await group.shutdownGracefully()
    }

    func initialize() async throws {
        defer { sink.flush() }
        let server = try await HubServer.open(
            configuration,
            group: MultiThreadedEventLoopGroup.singleton,
            listens: false,
            logger: logger
        )
        StandardStreams.output(try banner(server).text(isServing: false))
        try await server.abandon()
    }

    private func banner(_ server: HubServer) -> Banner {
        Banner(
            file: server.file,
            dataDirectory: server.directory.path,
            hostNameIsChosen: !configuration.hostNames.isEmpty
        )
    }
}

extension Logger.Level {
    /// The level of a setting.
    fileprivate init(_ level: LogLevel) {
        switch level {
        case .trace: self = .trace
        case .debug: self = .debug
        case .info: self = .info
        case .notice: self = .notice
        case .warning: self = .warning
        case .error: self = .error
        case .critical: self = .critical
        }
    }
}
