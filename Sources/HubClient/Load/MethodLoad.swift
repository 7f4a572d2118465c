// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import MQTT
import NIOCore

/// Devices that answer every method with what it carries.
public enum MethodResponders {
    /// Runs `body` with the devices, not yet connected; each is ready once it takes calls.
    ///
    /// - Parameters:
    ///   - fleet: the devices and how they connect.
    ///   - body: what is done with them.
    /// - Returns: what `body` returns.
    /// - Throws: what `body` throws, and ``HubClientError``.
    public static func run<Result: Sendable>(
        _ fleet: FleetPlan,
        _ body: (Fleet) async throws -> Result
    ) async throws -> Result {
        try await Fleet.with(fleet, behaviour: { MethodResponder($0) }, body)
    }
}

/// A device that answers every method.
final class MethodResponder: FleetBehaviour {
    private let member: FleetMember

    init(_ member: FleetMember) {
        self.member = member
    }

    func connected(_ connection: DeviceConnection) {
        let lane = self.member.lane
        connection.subscribe([DeviceTopic.methods], on: lane.eventLoop).assumeIsolated().whenComplete { result in
            switch result {
            case .success: lane.figures.ready += 1
            case .failure(let error): lane.failed(error)
            }
        }
    }

    func start(_ connection: DeviceConnection) {}

    func disconnected() {}

    func received(_ publish: Publish, _ connection: DeviceConnection) {
        guard case .method(_, let id) = DeviceTopic(String(buffer: publish.topic), deviceID: "") else { return }
        self.member.lane.figures.methods += 1
        let topic = DeviceTopic.methodAnswer(status: 200, requestID: id)
        connection.publish(.init(topic: topic, payload: publish.payload, qos: .atMostOnce, acknowledged: nil))
    }
}

@available(*, unavailable)
extension MethodResponder: Sendable {}
