// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import FoundationEssentials
import HubClient
import HubModel
import UnixSignals

/// `roost simulate`: devices that do what devices do.
struct SimulateCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "simulate",
        abstract: "Be many devices: telemetry, methods, twins and commands, until interrupted.",
        discussion: """
            Each device connects over MQTT, sends telemetry made of a template, answers every method with status 200 and \
            the payload of the call, reports every desired property as it is told, and completes every command. A device \
            that loses its connection comes back, waiting longer each time that it fails.

            Devices that are not there are made; those that are keep their keys. In the template stand {{device}}, \
            {{counter}}, {{time}}, {{milliseconds}} and {{random MIN MAX}}:

                roost simulate --devices 20 --interval 5 --template '{"t":{{random 18.0 25.0}},"at":"{{time}}"}'
            """
    )

    /// The template that is used when none is given.
    static let defaultTemplate =
        #"{"device":"{{device}}","counter":{{counter}},"time":"{{time}}","temperature":{{random 18.00 28.00}},"#
        + #""humidity":{{random 30 70}}}"#

    @Argument(help: .init("The ids of devices, instead of --devices and --prefix.", valueName: "device"))
    var ids: [String] = []

    @Option(
        name: .shortAndLong,
        help: .init("How many devices; their ids are the prefix and a number.", valueName: "count")
    )
    var devices: Int?

    @Option(name: .long, help: .init("What the ids of the devices begin with.", valueName: "text"))
    var prefix = "sim-"

    @Option(
        name: .shortAndLong,
        help: .init("What each message holds: a text with placeholders, or @FILE.", valueName: "text")
    )
    var template: String?

    @Flag(name: .long, help: "Send no telemetry.")
    var quiet = false

    @Option(name: .shortAndLong, help: .init("Seconds between the messages of a device.", valueName: "seconds"))
    var interval = 10.0

    @Option(name: .shortAndLong, help: .init("A property of each message; may be repeated.", valueName: "name=value"))
    var property: [String] = []

    @Option(name: .long, help: .init("1: acknowledged by the hub. 0: not.", valueName: "0|1"))
    var qos = 1

    @Option(name: .long, help: .init("The status that methods are answered with.", valueName: "number"))
    var methodStatus = 200

    @Option(name: .long, help: .init("End after so long.", valueName: "seconds"))
    var seconds: Double?

    @Option(
        name: .long,
        help: .init("Seconds between lines of progress, else 1 on a terminal and 10 elsewhere.", valueName: "seconds")
    )
    var progress: Double?

    @Flag(name: .long, help: "Make no devices: all must be there.")
    var existing = false

    @Flag(name: .long, help: "Delete the devices that were made, at the end.")
    var delete = false

    @Option(name: .long, help: .init("How many connections to make at once.", valueName: "count"))
    var parallel = 32

    @Option(name: .long, help: .init("Threads for the devices.", valueName: "count"))
    var threads = 1

    @OptionGroup var hub: HubOptions
    @OptionGroup var output: OutputOptions

    func validate() throws {
        guard self.ids.isEmpty || self.devices == nil else { throw ValidationError("Give ids or --devices.") }
        guard (1...100_000).contains(self.devices ?? 1) else { throw ValidationError("--devices is 1 to 100000.") }
        guard (0.001...86_400).contains(self.interval) else { throw ValidationError("--interval is 0.001 to 86400.") }
        guard (0...1).contains(self.qos) else { throw ValidationError("--qos is 0 or 1: a hub takes no other.") }
        guard self.seconds.map({ $0 > 0 && $0 <= 1e7 }) ?? true else {
            throw ValidationError("--seconds is more than 0.")
        }
        guard self.progress.map({ $0 >= 0.1 && $0 <= 86_400 }) ?? true else {
            throw ValidationError("--progress is 0.1 to 86400.")
        }
        guard (1...10_000).contains(self.parallel), (1...64).contains(self.threads) else {
            throw ValidationError("--parallel is 1 to 10000, --threads 1 to 64.")
        }
        guard self.template == nil || !self.quiet else { throw ValidationError("Give a template or --quiet.") }
        try PropertyOption.check(self.property)
    }

    func run() async throws {
        // A connection is a descriptor, and the usual limit is 1,024.
        _ = ProcessLimits.raiseDescriptors()
        try await reportingErrors {
            let template = try self.messageTemplate()
            let target = try self.hub.resolve()
            // Caught before devices are made, so that an early Ctrl-C ends in order too.
            let signals = await UnixSignalsSequence(trapping: .sigterm, .sigint)
            let devices = try await FleetDevices.prepare(self.wantedIDs, of: target, creates: !self.existing)
            if !devices.made.isEmpty {
                note("made \(grouped(devices.made.count)) \(devices.made.count == 1 ? "device" : "devices")")
            }
            let plan = self.plan(target, devices: devices.devices, template: template)
            let start = ContinuousClock.now
            let figures: FleetFigures
            do {
                figures = try await self.simulate(plan, until: signals)
            } catch {
                if self.delete { try await devices.deleteMade(of: target) }
                throw error
            }
            if self.delete { try await devices.deleteMade(of: target) }
            let status = SimulationStatus(figures, devices: plan.fleet.devices.count)
            let elapsed = Double(start.duration(to: .now).nanoseconds) / 1e9
            say(self.output.json ? status.json(seconds: elapsed) : status.summary(seconds: elapsed))
            if figures.signIns == 0, let failure = figures.firstFailure {
                throw failure
            }
        }
    }

    private var wantedIDs: [String] {
        self.ids.isEmpty ? (0..<(self.devices ?? 10)).map { "\(self.prefix)\($0)" } : self.ids
    }

    /// The template of the options.
    func messageTemplate() throws -> MessageTemplate? {
        guard !self.quiet else { return nil }
        let text = self.template ?? Self.defaultTemplate
        return try MessageTemplate(text.hasPrefix("@") ? InputFile.text(String(text.dropFirst())) : text)
    }

    /// What the devices do.
    func plan(_ target: HubTarget, devices: [FleetPlan.Device], template: MessageTemplate?) -> SimulationPlan {
        var fleet = FleetPlan(address: target.address, devices: devices)
        fleet.reconnects = true
        fleet.connecting = self.parallel
        fleet.threads = min(self.threads, devices.count)
        var plan = SimulationPlan(fleet: fleet)
        plan.template = template
        plan.interval = .seconds(self.interval)
        plan.isAcknowledged = self.qos == 1
        plan.methodStatus = self.methodStatus
        var message = SendTelemetryCommand.message(properties: self.property)
        if self.template?.hasPrefix("{") ?? true {
            // Both are needed for readers and routes to take the body for JSON.
            message.contentType = "application/json"
            message.contentEncoding = "utf-8"
        }
        plan.propertyBag = message.propertyBag
        return plan
    }

    /// Runs the devices until a signal or the end of the time.
    private func simulate(_ plan: SimulationPlan, until signals: UnixSignalsSequence) async throws -> FleetFigures {
        try await plan.run { fleet in
            try await fleet.start()
            return try await withThrowingTaskGroup(of: Void.self) { tasks in
                tasks.addTask {
                    for await _ in signals { return }
                }
                if let seconds = self.seconds {
                    tasks.addTask { try await Task.sleep(for: .seconds(seconds)) }
                }
                tasks.addTask {
                    try await fleet.connectAll()
                    // Nothing ends by itself: what is refused is tried again.
                    while true { try await Task.sleep(for: .seconds(3600)) }
                }
                tasks.addTask { try await self.tellProgress(of: fleet, devices: plan.fleet.devices.count) }
                try await tasks.next()
                tasks.cancelAll()
                try await fleet.pause()
                let figures = try await fleet.figures()
                // This ends the connecting too, which does not notice that it is cancelled.
                try await fleet.stop()
                while let result = await tasks.nextResult() {
                    if case .failure(let error) = result, !(error is CancellationError) { throw error }
                }
                return figures
            }
        }
    }

    private func tellProgress(of fleet: Fleet, devices: Int) async throws {
        var line = ProgressLine()
        let seconds = self.progress ?? (ProgressLine.isTerminal ? 1 : 10)
        var before = FleetFigures()
        var failureTold = false
        while true {
            try await Task.sleep(for: .seconds(seconds))
            let figures = try await fleet.figures()
            if let failure = figures.firstFailure, !failureTold {
                failureTold = true
                line.end()
                note("the first failure: \(failure)")
            }
            line.show(SimulationStatus(figures, devices: devices).line(since: before, seconds: seconds))
            before = figures
        }
    }
}

/// What simulated devices did, as text.
struct SimulationStatus {
    private let figures: FleetFigures
    private let devices: Int

    init(_ figures: FleetFigures, devices: Int) {
        self.figures = figures
        self.devices = devices
    }

    /// One line for people, with the rate since an earlier time.
    func line(since before: FleetFigures, seconds: Double) -> String {
        let rate = Double(self.figures.sent - before.sent) / seconds
        return "connected \(grouped(self.figures.connected))/\(grouped(self.devices))  "
            + "messages \(grouped(self.figures.sent)) (\(fixed(rate, digits: 1))/s)  " + self.counts
    }

    /// The last line for people.
    func summary(seconds: Double) -> String {
        "\(grouped(self.devices)) \(self.devices == 1 ? "device" : "devices") in \(fixed(seconds, digits: 1)) s: "
            + "messages \(grouped(self.figures.sent)), \(grouped(self.figures.acknowledged)) of them acknowledged  "
            + self.counts
    }

    private var counts: String {
        let errors = self.figures.errors + self.figures.failed + self.figures.lost
        return "methods \(grouped(self.figures.methods))  desired \(grouped(self.figures.desired))  "
            + "reported \(grouped(self.figures.reported))  commands \(grouped(self.figures.commands))  "
            + "errors \(grouped(errors))"
    }

    /// The same for programs.
    func json(seconds: Double) -> String {
        let figures = self.figures
        return """
            {"devices":\(self.devices),"seconds":\(fixed(seconds, digits: 3)),"signIns":\(figures.signIns),\
            "messages":\(figures.sent),"acknowledged":\(figures.acknowledged),"methods":\(figures.methods),\
            "desired":\(figures.desired),"reported":\(figures.reported),"commands":\(figures.commands),\
            "errors":\(figures.errors),"failedSignIns":\(figures.failed),"lostConnections":\(figures.lost)}
            """
    }
}
