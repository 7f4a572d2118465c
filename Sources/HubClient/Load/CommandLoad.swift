// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import AMQP
import MQTT
import NIOCore

/// A load of commands, sent over AMQP on one link and completed by devices over MQTT.
public struct CommandLoadPlan: Sendable {
    /// The devices and how they connect; they share one thread with the sender.
    public var fleet: FleetPlan
    /// The name of a shared access policy with the right ServiceConnect.
    public var policy: String
    /// The policy's key as base64 text.
    public var key: String
    /// How many commands of a device are under way, from the sending to the completion.
    public var window = 4
    /// Bytes in the body of a command.
    public var bodyBytes = 256
    /// How long a device's turn waits after the hub refused a command.
    public var pause: Duration = .milliseconds(20)

    /// Makes a plan with the usual figures.
    ///
    /// - Parameters:
    ///   - fleet: the devices and how they connect.
    ///   - policy: the name of a shared access policy with the right ServiceConnect.
    ///   - key: the policy's key as base64 text.
    public init(fleet: FleetPlan, policy: String, key: String) {
        self.fleet = fleet
        self.policy = policy
        self.key = key
    }

    /// Runs `body` with the devices, not yet connected, and the sender attached.
    ///
    /// - Parameter body: what is done with them.
    /// - Returns: what `body` returns.
    /// - Throws: what `body` throws, and ``HubClientError``.
    public func run<Result: Sendable>(_ body: (Fleet) async throws -> Result) async throws -> Result {
        precondition(self.fleet.threads == 1, "devices and sender share a loop")
        let address = self.fleet.address
        let plan = try CommandLink.plan(address: address, policy: self.policy, key: self.key)
        let connector = try ClientChannel(address: address, connectTimeout: plan.connect)
        return try await Fleet.with(self.fleet, behaviour: { CommandLoadDevice($0, plan: self) }) { fleet in
            let lane = fleet.lanes.all[0]
            let links = try await lane.eventLoop.flatSubmit {
                let link = CommandLink()
                lane.value.commandLink = link
                let loopBound = NIOLoopBound(link, eventLoop: lane.eventLoop)
                return connector.open(plan, on: lane.eventLoop) { loopBound.value }
            }.get()
            let result = try await body(fleet)
            await links.close()
            return result
        }
    }
}

/// A device that completes its commands, and has the next one sent for each.
final class CommandLoadDevice: FleetBehaviour {
    private let member: FleetMember
    private let plan: CommandLoadPlan
    private let message: ByteBuffer
    private let timeOffset: Int

    init(_ member: FleetMember, plan: CommandLoadPlan) {
        self.member = member
        self.plan = plan
        let body = ByteBuffer(bytes: LoadBody.make(bytes: plan.bodyBytes))
        self.message = OutgoingCommand(device: member.device.id, body: body).message.encoded
        self.timeOffset = self.message.readableBytes - plan.bodyBytes + LoadBody.head.utf8.count
    }

    func connected(_ connection: DeviceConnection) {
        let lane = self.member.lane
        let request = DeviceTopic.commands(of: self.member.device.id)
        connection.subscribe([request], on: lane.eventLoop).assumeIsolated().whenComplete { result in
            switch result {
            case .success: lane.figures.ready += 1
            case .failure(let error): lane.failed(error)
            }
        }
    }

    func start(_ connection: DeviceConnection) {
        for _ in 0..<self.plan.window {
            self.sendOne()
        }
    }

    func disconnected() {}

    func received(_ publish: Publish, _ connection: DeviceConnection) {
        let lane = self.member.lane
        connection.acknowledge(publish)
        lane.figures.commands += 1
        if let sent = LoadBody.sentNanoseconds(in: publish.payload.readableBytesView) {
            lane.count(sinceNanoseconds: sent)
        }
        self.sendOne()
    }

    private func sendOne() {
        let lane = self.member.lane
        guard lane.isRunning, let link = lane.commandLink else { return }
        var payload = self.message
        let digits = LoadBody.digits(of: NIODeadline.now().uptimeNanoseconds)
        payload.setInteger(digits.0, at: payload.readerIndex + self.timeOffset)
        payload.setInteger(digits.1, at: payload.readerIndex + self.timeOffset + 8)
        let accepted = lane.eventLoop.makePromise(of: Void.self)
        accepted.futureResult.assumeIsolated().whenFailure { error in
            lane.failed(error)
            let loopBound = NIOLoopBound(self, eventLoop: lane.eventLoop)
            lane.eventLoop.scheduleTask(in: .init(self.plan.pause)) { loopBound.value.sendOne() }
        }
        lane.figures.sent += 1
        link.send(.init(payload: payload, accepted: accepted))
    }
}

@available(*, unavailable)
extension CommandLoadDevice: Sendable {}
