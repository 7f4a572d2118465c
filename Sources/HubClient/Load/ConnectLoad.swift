// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import MQTT
import NIOCore

/// Devices that connect, sign in and leave again, over and over.
public final class ConnectLoad: MeasuredLoad {
    private let lanes: Lanes<ConnectLane>

    private init(lanes: Lanes<ConnectLane>) {
        self.lanes = lanes
    }

    /// Runs `body` with such devices; ends them afterwards.
    ///
    /// - Parameters:
    ///   - plan: the devices; as many connect at once as it says.
    ///   - body: what is done with them.
    /// - Returns: what `body` returns.
    /// - Throws: what `body` throws, and ``HubClientError`` when the certificate authorities cannot be read.
    public static func with<Result: Sendable>(
        _ plan: FleetPlan,
        _ body: (ConnectLoad) async throws -> Result
    ) async throws -> Result {
        let connector = try ClientChannel(address: plan.address, connectTimeout: plan.limits.connect)
        return try await Lanes.with(threads: plan.threads) { index, loop in
            ConnectLane(plan: plan, connector: connector, lane: index, eventLoop: loop)
        } end: { lanes in
            try await lanes.onEach { $0.pause() }
        } _: { lanes in
            try await body(ConnectLoad(lanes: lanes))
        }
    }

    /// Begins to connect.
    public func start() async throws {
        try await self.lanes.onEach { $0.start() }
    }

    /// Starts counting durations.
    public func measure() async throws {
        try await self.lanes.onEach { $0.isMeasuring = true }
    }

    /// Connects no more.
    public func pause() async throws {
        try await self.lanes.onEach { $0.pause() }
    }

    /// What happened so far: sign-ins, failures, and from the first packet of TCP to CONNACK.
    public func figures() async throws -> FleetFigures {
        try await self.lanes.collect { $0.figures }.reduce(into: FleetFigures()) { $0.add($1) }
    }
}

/// The devices of one event loop.
final class ConnectLane {
    var figures = FleetFigures()
    var isMeasuring = false
    private let plan: FleetPlan
    private let connector: ClientChannel
    private let eventLoop: any EventLoop
    private var devices: CircularBuffer<FleetPlan.Device>
    private var isRunning = false

    init(plan: FleetPlan, connector: ClientChannel, lane: Int, eventLoop: any EventLoop) {
        self.plan = plan
        self.connector = connector
        self.eventLoop = eventLoop
        let numbers = stride(from: lane, to: plan.devices.count, by: plan.threads)
        self.devices = CircularBuffer(numbers.map { plan.devices[$0] })
    }

    func start() {
        self.isRunning = true
        for _ in 0..<max(1, min(self.plan.connecting / self.plan.threads, self.devices.count)) {
            self.openNext()
        }
    }

    func pause() {
        self.isRunning = false
        self.isMeasuring = false
    }

    private func openNext() {
        guard self.isRunning, let device = self.devices.popFirst() else { return }
        let signIn = DeviceSignIn(hostName: self.plan.address.bareHostName, deviceID: device.id, key: device.key)
        let limits = self.plan.limits
        let packet: ByteBuffer
        do throws(HubClientError) {
            packet = try signIn.connectPacket(
                keepAliveSeconds: limits.keepAliveSeconds,
                tokenSeconds: limits.tokenSeconds
            )
        } catch {
            self.figures.failed += 1
            self.figures.firstFailure = self.figures.firstFailure ?? error
            return
        }
        let attempt = ConnectAttempt(lane: self, device: device)
        let connection = DeviceConnection(
            connectPacket: packet,
            deviceID: device.id,
            address: self.plan.address,
            limits: limits,
            user: attempt
        )
        let (host, port) = (self.plan.address.dialHost, self.plan.address.mqttPort)
        let source = LoadSource.address(Int.random(in: 0..<1 << 20), of: self.plan.sourceAddresses)
        let loopBound = NIOLoopBound(connection, eventLoop: self.eventLoop)
        self.connector.connect(on: self.eventLoop, port: port, from: source) { _ in loopBound.value }
            .assumeIsolated().whenFailure { attempt.ended(.connecting($0, host: host, port: port)) }
    }

    /// A device was let in.
    func signedIn(sinceNanoseconds start: UInt64) {
        self.figures.signIns += 1
        guard self.isMeasuring else { return }
        self.figures.latency.add(nanoseconds: NIODeadline.now().uptimeNanoseconds &- start)
    }

    /// A connection is over: another device has its turn.
    func ended(_ device: FleetPlan.Device, failure: HubClientError?) {
        self.devices.append(device)
        if let failure, self.isRunning {
            self.figures.failed += 1
            self.figures.firstFailure = self.figures.firstFailure ?? failure
        }
        // Not at once, so that neither closings nor refusals become a recursion; and not in a hurry where nothing works.
        let loopBound = NIOLoopBound(self, eventLoop: self.eventLoop)
        self.eventLoop.scheduleTask(in: failure == nil ? .zero : .milliseconds(10)) { loopBound.value.openNext() }
    }
}

@available(*, unavailable)
extension ConnectLane: Sendable {}

/// One connection, from its first packet to its end.
private final class ConnectAttempt: DeviceUser {
    private let lane: ConnectLane
    private let device: FleetPlan.Device
    private let start = NIODeadline.now().uptimeNanoseconds
    private var isIn = false
    private var isOver = false

    init(lane: ConnectLane, device: FleetPlan.Device) {
        self.lane = lane
        self.device = device
    }

    func signedIn(_ connection: DeviceConnection) {
        self.isIn = true
        self.lane.signedIn(sinceNanoseconds: self.start)
        connection.close()
    }

    func received(_ publish: Publish, _ connection: DeviceConnection) {}

    func ended(_ error: HubClientError) {
        guard !self.isOver else { return }
        self.isOver = true
        self.lane.ended(self.device, failure: self.isIn ? nil : error)
    }
}
