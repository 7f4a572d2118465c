// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import NIOCore

/// The devices of a fleet that live on one event loop, and their figures.
final class FleetLane {
    /// The loop.
    let eventLoop: any EventLoop
    /// What happened so far.
    var figures = FleetFigures()
    /// Whether devices work.
    private(set) var isRunning = false
    /// Whether durations are counted.
    var isMeasuring = false
    /// How commands are sent to the devices of the lane, by a load that does so.
    var commandLink: CommandLink?
    private let plan: FleetPlan
    private let connector: ClientChannel
    private var members: [FleetMember] = []
    private var turn = CircularBuffer<FleetMember>()
    private let connecting: Int
    private var pending = 0
    private var untried = 0
    private var allTried: EventLoopPromise<Void>?
    private var isStopping = false
    private var channels: [ObjectIdentifier: any Channel] = [:]

    init(
        plan: FleetPlan,
        connector: ClientChannel,
        lane: Int,
        eventLoop: any EventLoop,
        behaviour: (FleetMember) -> any FleetBehaviour
    ) {
        self.plan = plan
        self.connector = connector
        self.eventLoop = eventLoop
        self.connecting = max(1, plan.connecting / plan.threads)
        for number in stride(from: lane, to: plan.devices.count, by: plan.threads) {
            let member = FleetMember(plan.devices[number], number: number, lane: self)
            member.use(behaviour(member))
            self.members.append(member)
        }
    }

    /// Connects every device, some at a time.
    ///
    /// - Returns: succeeds when each was tried once.
    func connectAll() -> EventLoopFuture<Void> {
        let promise = self.eventLoop.makePromise(of: Void.self)
        self.allTried = promise
        self.untried = self.members.count
        self.turn.append(contentsOf: self.members)
        self.openMore()
        return promise.futureResult
    }

    private func openMore() {
        while !self.isStopping, self.pending < self.connecting, let member = self.turn.popFirst() {
            self.pending += 1
            self.open(member)
        }
        if self.untried <= 0 || self.isStopping {
            self.allTried?.succeed()
            self.allTried = nil
        }
    }

    private func open(_ member: FleetMember) {
        let connection: DeviceConnection
        do throws(HubClientError) {
            connection = try member.makeConnection(self.plan)
        } catch {
            // Not at once: the caller is in the middle of its turn.
            self.eventLoop.assumeIsolated().execute { member.ended(error) }
            return
        }
        let (host, port) = (self.plan.address.dialHost, self.plan.address.mqttPort)
        let loopBound = NIOLoopBound(connection, eventLoop: self.eventLoop)
        let source = LoadSource.address(member.number, of: self.plan.sourceAddresses)
        self.connector.connect(on: self.eventLoop, port: port, from: source) { _ in
            loopBound.value
        }.assumeIsolated().whenComplete { result in
            switch result {
            case .success(let channel): self.opened(channel)
            case .failure(let error): member.ended(.connecting(error, host: host, port: port))
            }
        }
    }

    /// Keeps hold of the channel, so that a stop can wait for its end.
    private func opened(_ channel: any Channel) {
        let id = ObjectIdentifier(channel)
        self.channels[id] = channel
        channel.closeFuture.assumeIsolated().whenComplete { _ in self.channels[id] = nil }
        if self.isStopping {
            channel.close(promise: nil)
        }
    }

    /// A device that was connecting is connected.
    func connectEnded() {
        self.pending -= 1
        self.untried -= 1
        self.openMore()
    }

    /// A device lost its connection, or could not make one.
    func memberEnded(_ member: FleetMember, wasConnecting: Bool, failures: Int) {
        if wasConnecting {
            self.pending -= 1
            self.untried -= 1
        }
        let loopBound = NIOLoopBound((self, member), eventLoop: self.eventLoop)
        if self.plan.reconnects, !self.isStopping {
            let delay = self.plan.delay(afterFailures: failures, spread: Double.random(in: 0...1))
            self.eventLoop.scheduleTask(in: .init(delay)) {
                let (lane, member) = loopBound.value
                lane.turn.append(member)
                lane.openMore()
            }
        }
        // Not at once: a hub that refuses everything would be a recursion as deep as there are devices.
        self.eventLoop.execute { loopBound.value.0.openMore() }
    }

    /// Counts how long something took, while that is measured.
    func count(sinceNanoseconds start: UInt64) {
        guard self.isMeasuring else { return }
        self.figures.latency.add(nanoseconds: NIODeadline.now().uptimeNanoseconds &- start)
    }

    /// Counts a failure that is not one of a connection.
    func failed(_ error: any Error) {
        // While the fleet stops, what was under way fails, and that is nobody's error.
        guard !self.isStopping else { return }
        self.figures.errors += 1
        let failure = error as? HubClientError ?? .closed(during: "the work of a device")
        self.figures.firstFailure = self.figures.firstFailure ?? failure
    }

    /// Lets every device begin its work.
    func start() {
        self.isRunning = true
        for member in self.members {
            member.start()
        }
    }

    /// Lets no device begin anything more; what is under way ends.
    func pause() {
        self.isRunning = false
        self.isMeasuring = false
    }

    /// Signs every device off.
    ///
    /// - Returns: succeeds when every connection is closed.
    func stop() -> EventLoopFuture<Void> {
        self.pause()
        self.isStopping = true
        self.turn.removeAll()
        self.openMore()
        let open = Array(self.channels.values)
        for member in self.members {
            member.stop()
        }
        for channel in open {
            channel.close(promise: nil)
        }
        return EventLoopFuture.andAllComplete(open.map(\.closeFuture), on: self.eventLoop)
    }
}

@available(*, unavailable)
extension FleetLane: Sendable {}

/// The local addresses that connections to this machine come from.
enum LoadSource {
    /// 127.0.1.x for a device, or nil for whatever the system chooses.
    static func address(_ number: Int, of count: Int) -> SocketAddress? {
        guard count > 1 else { return nil }
        let index = number % count
        return try? SocketAddress(ipAddress: "127.0.\(1 + index / 250).\(1 + index % 250)", port: 0)
    }
}
