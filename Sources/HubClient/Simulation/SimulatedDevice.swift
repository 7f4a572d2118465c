// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import FoundationEssentials
import JSON
import MQTT
import NIOCore

/// What simulated devices do.
public struct SimulationPlan: Sendable {
    /// The devices and how they connect.
    public var fleet: FleetPlan
    /// What each message holds; nil sends none.
    public var template: MessageTemplate?
    /// How long a device waits between messages.
    public var interval: Duration = .seconds(10)
    /// The property bag of each message, encoded.
    public var propertyBag = ""
    /// Whether messages are acknowledged (QoS 1).
    public var isAcknowledged = true
    /// The status with which methods are answered.
    public var methodStatus = 200

    /// Makes a plan with the usual figures.
    public init(fleet: FleetPlan) {
        self.fleet = fleet
    }

    /// Runs `body` with the devices, not yet connected.
    ///
    /// - Parameter body: what is done with them.
    /// - Returns: what `body` returns.
    /// - Throws: what `body` throws, and ``HubClientError``.
    public func run<Result: Sendable>(_ body: (Fleet) async throws -> Result) async throws -> Result {
        try await Fleet.with(self.fleet, behaviour: { SimulatedDevice($0, plan: self) }, body)
    }
}

/// A device that sends telemetry, answers methods with what they carry, reports what it is told to be, and completes commands.
final class SimulatedDevice: FleetBehaviour {
    private let member: FleetMember
    private let plan: SimulationPlan
    private let topic: ByteBuffer
    private var counter: UInt64 = 0
    private var sending: RepeatedTask?
    private var lastRequest: UInt64 = 0

    init(_ member: FleetMember, plan: SimulationPlan) {
        self.member = member
        self.plan = plan
        let signIn = DeviceSignIn(hostName: "", deviceID: member.device.id, key: "")
        self.topic = ByteBuffer(string: signIn.telemetryTopic + plan.propertyBag)
    }

    func connected(_ connection: DeviceConnection) {
        let requests = [
            DeviceTopic.methods, DeviceTopic.twinAnswers, DeviceTopic.desiredPatches,
            DeviceTopic.commands(of: self.member.device.id),
        ]
        // Changes made while the device was away are not sent again: it reads its twin each time.
        connection.subscribe(requests, on: self.member.lane.eventLoop).assumeIsolated().whenComplete { result in
            switch result {
            case .success: self.request(DeviceTopic.twinRead, ByteBuffer(), connection)
            case .failure(let error): self.member.lane.failed(error)
            }
        }
    }

    func start(_ connection: DeviceConnection) {
        guard self.plan.template != nil, self.sending == nil else { return }
        let interval = TimeAmount(self.plan.interval)
        // Each device begins at a time of its own, so that the hub gets an even stream.
        let first = TimeAmount.nanoseconds(Int64.random(in: 0...max(0, interval.nanoseconds)))
        let loopBound = NIOLoopBound((self, connection), eventLoop: self.member.lane.eventLoop)
        self.sending = self.member.lane.eventLoop.scheduleRepeatedTask(initialDelay: first, delay: interval) { _ in
            let (device, connection) = loopBound.value
            device.sendTelemetry(connection)
        }
    }

    func disconnected() {
        self.sending?.cancel()
        self.sending = nil
    }

    private func sendTelemetry(_ connection: DeviceConnection) {
        guard self.member.lane.isRunning, let template = self.plan.template else { return }
        self.counter += 1
        let values = MessageTemplate.Values(
            device: self.member.device.id,
            counter: self.counter,
            milliseconds: Int64((Date().timeIntervalSince1970 * 1000).rounded())
        )
        var random = SystemRandomNumberGenerator()
        let acknowledged = self.member.lane.eventLoop.makePromise(of: Void.self)
        acknowledged.futureResult.assumeIsolated().whenComplete { result in
            switch result {
            case .success: self.member.lane.figures.acknowledged += 1
            case .failure(let error): self.member.lane.failed(error)
            }
        }
        self.member.lane.figures.sent += 1
        connection.publish(
            .init(
                topic: self.topic,
                payload: template.filled(values, using: &random),
                qos: self.plan.isAcknowledged ? .atLeastOnce : .atMostOnce,
                acknowledged: acknowledged
            )
        )
    }

    func received(_ publish: Publish, _ connection: DeviceConnection) {
        switch DeviceTopic(String(buffer: publish.topic), deviceID: self.member.device.id) {
        case .method(_, let id):
            self.member.lane.figures.methods += 1
            let topic = DeviceTopic.methodAnswer(status: self.plan.methodStatus, requestID: id)
            connection.publish(.init(topic: topic, payload: publish.payload, qos: .atMostOnce, acknowledged: nil))
        case .desiredPatch:
            self.member.lane.figures.desired += 1
            self.report(Self.echo(of: publish.payload, member: nil), connection)
        case .twinAnswer(200, _):
            self.report(Self.echo(of: publish.payload, member: "desired"), connection)
        case .twinAnswer(204, _):
            self.member.lane.figures.reported += 1
        case .twinAnswer(let status, _):
            self.member.lane.failed(HubClientError.refused(.init(status: UInt(max(0, status)), code: "", message: "")))
        case .command:
            self.member.lane.figures.commands += 1
        case .unknown:
            self.member.lane.failed(HubClientError.protocolViolation("a message on a topic that was not asked for"))
        }
        connection.acknowledge(publish)
    }

    private func report(_ patch: ByteBuffer?, _ connection: DeviceConnection) {
        guard let patch else { return }
        self.request(DeviceTopic.reportedPatch, patch, connection)
    }

    private func request(
        _ topic: (_ requestID: String) -> ByteBuffer,
        _ payload: ByteBuffer,
        _ connection: DeviceConnection
    ) {
        self.lastRequest += 1
        connection.publish(
            .init(topic: topic(String(self.lastRequest)), payload: payload, qos: .atMostOnce, acknowledged: nil)
        )
    }

    /// The properties that a device reports because it is told to have them: all but the hub's own, or nil when there are none.
    ///
    /// - Parameters:
    ///   - document: an object with desired properties, or with a member that is one.
    ///   - member: the name of that member.
    /// - Returns: a JSON object.
    static func echo(of document: ByteBuffer, member: String?) -> ByteBuffer? {
        guard let root = try? JSONDocument(parsing: document).root,
            let desired = member.map({ root[$0] }) ?? root
        else { return nil }
        var writer = JSONWriter()
        var isEmpty = true
        writer.beginObject()
        for property in desired.members where !property.name.hasPrefix("$") {
            writer.rawName(property.rawName)
            writer.value(property.value)
            isEmpty = false
        }
        writer.endObject()
        return isEmpty ? nil : writer.buffer
    }
}

@available(*, unavailable)
extension SimulatedDevice: Sendable {}
