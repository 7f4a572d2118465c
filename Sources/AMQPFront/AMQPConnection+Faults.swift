// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import AMQP
import Hub
import HubModel
import NIOCore

/// Faults that a device asks for, on a hub that allows it (docs/wire/amqp.md#faults).
///
/// Those that end something do so once, and only to the identity that asks, unless it asks for the end of the session or of
/// the connection, which it may share. Those that refuse do so to each message of the identity while they last, on whatever
/// connection it comes.
extension AMQPConnection {
    /// Looks at a message on a hub that allows faults; false where a fault has answered it.
    func mayTake(_ delivery: IncomingDelivery, on node: IdentityNode, despite faults: FaultBoard) -> Bool {
        guard let id = node.part?.id else { return true }
        let now = hub.clock.milliseconds
        if let refusal = faults.fault(of: id, nowMilliseconds: now)?.refusal {
            node.settle(delivery, .rejected(refusal))
            return false
        }
        guard let plan = FaultPlan(delivery, limits: faults.limits, engine: limits.engine) else { return true }
        faults.request(plan, for: id, nowMilliseconds: now)
        guard plan.kind.refusal == nil else { return true }
        let delay = TimeAmount.milliseconds(max(plan.delayMilliseconds, Self.answerMilliseconds))
        eventLoop.assumeIsolated().scheduleTask(in: delay) { [weak self, weak node] in
            guard let self, let node else { return }
            self.perform(plan.kind, of: node)
            self.handler.proceed()
        }
        return true
    }

    /// How long the message that asks for a fault has for its own way to the disk and back.
    private static let answerMilliseconds: Int64 = 100

    private func perform(_ kind: FaultKind, of node: IdentityNode) {
        handler.log("amqp fault that was asked for: \(kind.rawValue)")
        let part = node.part
        switch kind {
        case .killTCP: handler.cut()
        case .shutDownAMQP: engine.close()
        case .killAMQPConnection: engine.close(.faultInjected)
        case .killAMQPSession:
            for link in engine.end(node.link.session, .faultInjected) { remove(link) }
        case .killAMQPClaimsRequestLink: detachClaims(role: .receiver)
        case .killAMQPClaimsResponseLink: detachClaims(role: .sender)
        case .killAMQPTelemetryLink: detach(node.isClosed ? nil : node)
        case .killAMQPCommandLink: detach(part?.node(.commands))
        case .killAMQPTwinRequestLink: detach(part?.node(.twinRequests))
        case .killAMQPTwinResponseLink: detach(part?.node(.twinAnswers))
        case .killAMQPMethodRequestLink: detach(part?.node(.methodCalls))
        case .killAMQPMethodResponseLink: detach(part?.node(.methodAnswers))
        case .shutDownMQTT, .invokeThrottling, .invokeMaxMessageQuota, .invokeAuthError: break
        }
    }

    private func detach(_ node: (any LinkNode)?) {
        guard let node else { return }
        detach(node, AMQPError(.detachForced, AMQPError.faultInjected.description))
    }

    private func detachClaims(role: LinkRole) {
        for node in Array(nodes.values) where node is ClaimsNode && node.link.role == role { detach(node) }
    }
}

extension AMQPError {
    fileprivate static let faultInjected = AMQPError(.connectionForced, "The fault that was asked for.")
}

extension FaultKind {
    /// What messages are refused with while the fault lasts; nil for a fault that ends something instead.
    fileprivate var refusal: AMQPError? {
        switch self {
        case .invokeThrottling: AMQPError("com.microsoft:device-container-throttled", "The device is throttled.")
        case .invokeMaxMessageQuota:
            AMQPError(.resourceLimitExceeded, "Total number of messages on IotHub 'exceeded' the allocated quota.")
        case .invokeAuthError: AMQPError(.unauthorizedAccess, "Unauthorized")
        default: nil
        }
    }
}

extension FaultPlan {
    /// Reads a message; of a batch, its envelope.
    fileprivate init?(_ delivery: IncomingDelivery, limits: FaultLimits, engine: AMQPLimits) {
        let mark = "AzIoTHub_Fault"
        let isMarked = delivery.payload.withUnsafeReadableBytes { bytes in
            let mark = Array(mark.utf8)
            guard bytes.count >= mark.count else { return false }
            return (0...bytes.count - mark.count).contains { bytes[$0...].starts(with: mark) }
        }
        guard isMarked else { return nil }
        let message: Message
        do {
            message = try Message(payload: delivery.payload, limits: engine)
        } catch {
            return nil
        }
        guard let properties = message.applicationProperties else { return nil }
        self.init(limits: limits) { name in
            switch properties[name] {
            case .double(let number)?: String(number)
            case .float(let number)?: String(number)
            case let value?: value.text ?? value.integer.map { String($0) }
            case nil: nil
            }
        }
    }
}
