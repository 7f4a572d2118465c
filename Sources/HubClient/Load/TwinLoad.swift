// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import MQTT
import NIOCore

/// A load of patches of reported properties.
public struct TwinLoadPlan: Sendable {
    /// The devices and how they connect.
    public var fleet: FleetPlan
    /// How many patches of a device wait for their answer.
    public var window = 4
    /// Bytes in a patch.
    public var patchBytes = 100
    /// Bytes that the reported properties of a device have.
    public var twinBytes = 1024
    /// Whether requests are sent at QoS 1.
    public var isAcknowledged = false

    /// The fewest bytes in which a patch has room: a name and sixteen digits.
    public static let patchBytesMin = 27

    /// Makes a plan with the usual figures.
    public init(fleet: FleetPlan) {
        self.fleet = fleet
    }

    /// Runs `body` with the devices, not yet connected; each is ready once its twin has its size.
    ///
    /// - Parameter body: what is done with them.
    /// - Returns: what `body` returns.
    /// - Throws: what `body` throws, and ``HubClientError``.
    public func run<Result: Sendable>(_ body: (Fleet) async throws -> Result) async throws -> Result {
        try await Fleet.with(self.fleet, behaviour: { TwinLoadDevice($0, plan: self) }, body)
    }

    /// How many properties the twin has, each as large as a patch.
    var properties: Int { max(1, min(1000, self.twinBytes / self.patchBytes)) }

    /// The members of a patch, without braces: properties from `first` on, each with this number.
    func members(first: Int, count: Int, number: UInt64) -> String {
        let digits = String(number, radix: 16)
        let filler = String(repeating: "x", count: self.patchBytes - Self.patchBytesMin)
        let value = String(repeating: "0", count: 16 - digits.count) + digits + filler
        return (first..<first + count).map { index in
            let name = String(index)
            return "\"p\(String(repeating: "0", count: 3 - name.count))\(name)\":\"\(value)\""
        }.joined(separator: ",")
    }
}

/// A device that reports as fast as its window allows.
final class TwinLoadDevice: FleetBehaviour {
    private static let fillID = "fill"

    private let member: FleetMember
    private let plan: TwinLoadPlan
    private var sentAt: [UInt64]
    private var number: UInt64 = 0
    private var isFilled = false

    init(_ member: FleetMember, plan: TwinLoadPlan) {
        self.member = member
        self.plan = plan
        self.sentAt = Array(repeating: 0, count: plan.window)
    }

    func connected(_ connection: DeviceConnection) {
        let lane = self.member.lane
        connection.subscribe([DeviceTopic.twinAnswers], on: lane.eventLoop).assumeIsolated().whenComplete { result in
            switch result {
            case .success:
                let members = self.plan.members(first: 0, count: self.plan.properties, number: 0)
                self.patch(members, requestID: Self.fillID, connection)
            case .failure(let error): lane.failed(error)
            }
        }
    }

    func start(_ connection: DeviceConnection) {
        guard self.isFilled else { return }
        for slot in 0..<self.plan.window {
            self.report(slot, connection)
        }
    }

    func disconnected() {
        if self.isFilled {
            self.member.lane.figures.ready -= 1
        }
        self.isFilled = false
    }

    func received(_ publish: Publish, _ connection: DeviceConnection) {
        guard case .twinAnswer(let status, let id) = DeviceTopic(String(buffer: publish.topic), deviceID: "") else {
            return
        }
        let lane = self.member.lane
        guard status == 204 else {
            let text = String(buffer: publish.payload)
            lane.failed(HubClientError.refused(.init(status: UInt(max(0, status)), code: "", message: text)))
            return
        }
        if id == Self.fillID {
            self.isFilled = true
            lane.figures.ready += 1
            if lane.isRunning {
                self.start(connection)
            }
            return
        }
        guard let slot = Int(id), self.sentAt.indices.contains(slot) else { return }
        lane.figures.reported += 1
        lane.count(sinceNanoseconds: self.sentAt[slot])
        if lane.isRunning {
            self.report(slot, connection)
        }
    }

    private func report(_ slot: Int, _ connection: DeviceConnection) {
        self.number += 1
        let property = Int(self.number % UInt64(self.plan.properties))
        self.sentAt[slot] = NIODeadline.now().uptimeNanoseconds
        self.patch(
            self.plan.members(first: property, count: 1, number: self.number),
            requestID: String(slot),
            connection
        )
    }

    private func patch(_ members: String, requestID: String, _ connection: DeviceConnection) {
        connection.publish(
            .init(
                topic: DeviceTopic.reportedPatch(requestID: requestID),
                payload: ByteBuffer(string: "{\(members)}"),
                qos: self.plan.isAcknowledged ? .atLeastOnce : .atMostOnce,
                acknowledged: nil
            )
        )
    }
}

@available(*, unavailable)
extension TwinLoadDevice: Sendable {}
