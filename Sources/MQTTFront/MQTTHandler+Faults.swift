// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import Hub
import HubModel
import MQTT
import NIOCore

/// Faults that a device asks for, on a hub that allows it (docs/wire/mqtt.md#faults).
///
/// | kind | when it begins | while it lasts |
/// |---|---|---|
/// | `KillTcp` | closed | a CONNECT is answered by closing |
/// | `ShutDownMqtt`, `InvokeThrottling` | closed | CONNACK 3 |
/// | `InvokeAuthError` | closed | CONNACK 5 |
/// | `InvokeMaxMessageQuota` | nothing | a PUBLISH is answered by closing |
extension MQTTHandler {
    /// Looks at a message on a hub that allows faults; false where a fault has closed the connection.
    func mayTake(_ bag: ByteBuffer, despite faults: FaultBoard) -> Bool {
        guard let id = session?.identity.id else { return true }
        let now = front.hub.clock.milliseconds
        guard faults.fault(of: id, nowMilliseconds: now) != .invokeMaxMessageQuota else {
            close(.fault(.invokeMaxMessageQuota))
            return false
        }
        guard let plan = FaultPlan(bag: bag, limits: faults.limits), plan.kind.isOfMQTT else { return true }
        faults.request(plan, for: id, nowMilliseconds: now)
        if plan.kind != .invokeMaxMessageQuota {
            schedule(plan.kind, in: .milliseconds(plan.delayMilliseconds), attemptsLeft: Self.attemptsMax)
        }
        return true
    }

    /// Refuses the sign-in of an identity that is in a fault; false where it is in none.
    func isRefusedByFault(_ id: IdentityID) -> Bool {
        let now = front.hub.clock.milliseconds
        guard let kind = front.hub.faults?.fault(of: id, nowMilliseconds: now) else { return false }
        switch kind {
        case .killTCP: close(.fault(kind), client: id)
        case .shutDownMQTT, .invokeThrottling: refuse(.serverUnavailable, client: id, detail: kind.rawValue)
        case .invokeAuthError: refuse(.notAuthorized, client: id, detail: kind.rawValue)
        default: return false
        }
        return true
    }

    /// Closes after a while, and after the message that asked for it was acknowledged: a client would send it again, and
    /// again.
    private func schedule(_ kind: FaultKind, in delay: TimeAmount, attemptsLeft: Int) {
        guard let context else { return }
        context.eventLoop.assumeIsolated().scheduleTask(in: delay) { [weak self] in
            guard let self, !self.isClosing else { return }
            guard self.machine.acknowledgements.count == 0 || attemptsLeft == 0 else {
                return self.schedule(kind, in: Self.attemptDelay, attemptsLeft: attemptsLeft - 1)
            }
            self.close(.fault(kind))
        }
    }

    private static let attemptsMax = 50
    private static let attemptDelay = TimeAmount.milliseconds(10)
}

extension FaultKind {
    /// Whether it is one that a connection of MQTT can show.
    fileprivate var isOfMQTT: Bool {
        switch self {
        case .killTCP, .shutDownMQTT, .invokeThrottling, .invokeMaxMessageQuota, .invokeAuthError: true
        default: false
        }
    }
}

extension FaultPlan {
    /// Reads the property bag of a message.
    fileprivate init?(bag: ByteBuffer, limits: FaultLimits) {
        let text = String(buffer: bag)
        guard text.utf8.count >= Self.typeProperty.utf8.count, text.contains("FaultOperation") else { return nil }
        var properties: [String: String] = [:]
        for pair in text.split(separator: "&") {
            let sides = pair.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
            guard sides.count == 2, let name = PercentEncoding.decode(sides[0]) else { continue }
            properties[name] = PercentEncoding.decode(sides[1])
        }
        self.init(limits: limits) { properties[$0] }
    }
}
