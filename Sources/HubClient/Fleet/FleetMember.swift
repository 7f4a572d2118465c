// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import MQTT
import NIOCore

/// What a device of a fleet does; all of it on the device's loop.
protocol FleetBehaviour: AnyObject {
    /// The device is connected, for the first time or again.
    func connected(_ connection: DeviceConnection)
    /// The fleet is told to work, or the device was connected while it does.
    func start(_ connection: DeviceConnection)
    /// The hub sent something.
    func received(_ publish: Publish, _ connection: DeviceConnection)
    /// The connection is over.
    func disconnected()
}

/// One device of a fleet through all of its connections; lives on its lane's loop.
///
/// | state      | event          | next       |
/// |------------|----------------|------------|
/// | waiting    | its turn       | connecting |
/// | connecting | signed in      | connected  |
/// | connecting | failure        | waiting, after a time, or out |
/// | connected  | loss           | waiting, after a time, or out |
/// | any        | stop           | out        |
final class FleetMember: DeviceUser {
    private enum State {
        case waiting, connecting, connected, out
    }

    /// The device.
    let device: FleetPlan.Device
    /// Its place among all devices of the fleet.
    let number: Int
    /// The lane, whose figures the behaviour counts in.
    unowned let lane: FleetLane
    private var behaviour: (any FleetBehaviour)?
    private var connection: DeviceConnection?
    private var state = State.waiting
    private var failures = 0

    init(_ device: FleetPlan.Device, number: Int, lane: FleetLane) {
        self.device = device
        self.number = number
        self.lane = lane
    }

    /// Gives the device something to do, before it connects.
    func use(_ behaviour: any FleetBehaviour) {
        self.behaviour = behaviour
    }

    /// What makes the connection, when it is the device's turn.
    ///
    /// - Throws: ``HubClientError/badKey``.
    func makeConnection(_ plan: FleetPlan) throws(HubClientError) -> DeviceConnection {
        self.state = .connecting
        let signIn = DeviceSignIn(hostName: plan.address.bareHostName, deviceID: self.device.id, key: self.device.key)
        let packet = try signIn.connectPacket(
            keepAliveSeconds: plan.limits.keepAliveSeconds,
            tokenSeconds: plan.limits.tokenSeconds
        )
        return DeviceConnection(
            connectPacket: packet,
            deviceID: self.device.id,
            address: plan.address,
            limits: plan.limits,
            user: self
        )
    }

    func signedIn(_ connection: DeviceConnection) {
        guard self.state != .out else { return connection.close() }
        self.state = .connected
        self.connection = connection
        self.failures = 0
        self.lane.figures.connected += 1
        self.lane.figures.signIns += 1
        self.behaviour?.connected(connection)
        if self.lane.isRunning {
            self.behaviour?.start(connection)
        }
        self.lane.connectEnded()
    }

    func received(_ publish: Publish, _ connection: DeviceConnection) {
        self.behaviour?.received(publish, connection)
    }

    func ended(_ error: HubClientError) {
        let before = self.state
        guard before == .connecting || before == .connected else { return }
        self.state = .waiting
        self.connection = nil
        self.failures += 1
        if before == .connected {
            self.lane.figures.connected -= 1
            self.lane.figures.lost += 1
            self.behaviour?.disconnected()
        } else {
            self.lane.figures.failed += 1
        }
        self.lane.figures.firstFailure = self.lane.figures.firstFailure ?? error
        self.lane.memberEnded(self, wasConnecting: before == .connecting, failures: self.failures)
    }

    /// Lets a connected device begin its work.
    func start() {
        guard self.state == .connected, let connection else { return }
        self.behaviour?.start(connection)
    }

    /// Takes the device out of the fleet: it signs off and does not come back.
    func stop() {
        let before = self.state
        self.state = .out
        guard before == .connected, let connection else { return }
        self.lane.figures.connected -= 1
        self.behaviour?.disconnected()
        self.connection = nil
        connection.close()
    }
}

@available(*, unavailable)
extension FleetMember: Sendable {}
