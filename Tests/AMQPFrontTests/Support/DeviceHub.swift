// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import AMQP
import HubModel
import HubTesting
import NIOCore

@testable import AMQPFront
@testable import Hub

/// A hub with a registry in memory, and a clock and an event store that the test drives.
final class DeviceHub: Sendable {
    static let host = "myhub.example.net"
    static let key = InProcessHub.key
    static let policyKey = InProcessHub.policyKey

    let hub: Hub
    let front: AMQPFront
    let events: ScriptedEventStore
    let commands: BreakableCommandStore
    private let made: InProcessHub

    init(
        _ ids: [IdentityID] = [
            IdentityID(device: "d1"), IdentityID(device: "d2"), IdentityID(device: "d1", module: "m1"),
        ],
        limits: AMQPFrontLimits = AMQPFrontLimits(),
        certificates: [[UInt8]] = []
    ) async throws {
        let clock = TestClock(milliseconds: 1_700_000_000_000)
        events = ScriptedEventStore(partitionCount: 2, clock: clock.clock)
        var breakable: BreakableCommandStore?
        made = try InProcessHub(
            hostNames: [Self.host],
            events: events,
            clock: clock,
            commands: { store in
                let made = BreakableCommandStore(store)
                breakable = made
                return made
            }
        )
        guard let breakable else { preconditionFailure("a hub asks for its commands") }
        commands = breakable
        hub = made.hub
        front = AMQPFront(hub: hub, limits: limits) { _ in certificates }
        for id in ids { try await register(id) }
    }

    var policies: PolicyTable { made.policies }
    var registry: Registry { made.registry }

    func register(_ id: IdentityID, status: IdentityStatus = .enabled, isNew: Bool = true) async throws {
        try await made.register(id, status: status, isNew: isNew)
    }

    func disable(_ id: IdentityID) async throws { try await register(id, status: .disabled, isNew: false) }

    /// Moves the hub's clock, which tokens are measured by.
    func advanceClock(seconds: Int64) { made.clock.advance(seconds: seconds) }

    var nowSeconds: Int64 { hub.clock.seconds }

    /// A token; `resource` is signed and sent exactly as it is given.
    func token(
        _ resource: String,
        key: String = key,
        expiresIn seconds: Int64 = 3600,
        policy: String? = nil
    ) -> String {
        made.token(resource, key: key, expiresIn: seconds, policy: policy)
    }

    /// The token of an identity, in the plainest form.
    func token(of id: IdentityID, expiresIn seconds: Int64 = 3600) -> String {
        token("\(Self.host)/\(ConnectionIdentities.path(id))", expiresIn: seconds)
    }

    /// The events that are stored, as readers see them.
    func storedEvents() throws -> [Message] {
        try events.frames.flatMap { frame in
            try frame.entries.compactMap { entry -> Message? in
                guard
                    let record = EventRecord(
                        in: frame.records,
                        payloadAt: entry.payloadStart,
                        count: entry.payloadCount
                    )
                else { return nil }
                let event = EventMessage(record, entry, of: frame, metrics: nil)
                var buffer = ByteBuffer()
                buffer.writeWithUnsafeMutableBytes(minimumWritableBytes: event.byteCount) { room in
                    guard let start = room.baseAddress else { return 0 }
                    return event.write(to: start) - start
                }
                return try Message(payload: buffer)
            }
        }
    }
}

extension Message {
    /// The body as text.
    var bodyText: String { String(buffer: dataBody) }
}
