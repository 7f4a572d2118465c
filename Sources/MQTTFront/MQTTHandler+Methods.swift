// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import Hub
import HubModel
import Logging
import MQTT
import NIOCore

/// Direct methods (docs/wire/mqtt.md#methods).
extension MQTTHandler {
    /// Hands a call to the client, at QoS 0 whatever was granted.
    func methodCallDelivered(_ call: MethodCall) {
        guard !isClosing else { return }
        send(.methodRequest(name: call.name, requestID: String(call.id.number, radix: 16)), call.payload)
        flush()
    }

    /// Takes the answer to a call.
    ///
    /// - Parameters:
    ///   - publish: the message; its body is the answer
    ///   - status: nil where it is no number: such an answer is nobody's
    ///   - requestID: names the call; one that the hub does not know is ignored
    ///   - acknowledgement: the number of the PUBACK that is owed, nil at QoS 0
    func methodResponseReceived(_ publish: Publish, status: Int32?, requestID: String, acknowledgement: UInt64?) {
        guard let session else { preconditionFailure("an answer without a session") }
        if let status, let number = UInt64(requestID, radix: 16) {
            // Copied, so that an answer under way to its caller does not keep the read buffer alive.
            let payload = ByteBuffer(publish.payload.readableBytesView)
            session.respond(to: number, MethodResult(status: status, payload: payload))
        } else {
            front.hub.logger.debug("mqtt answer to a method ignored: no status or no request id of the hub's")
        }
        // The caller has it or waits no more: there is nothing to be stored.
        if let acknowledgement { owedNoMore(acknowledgement) }
    }
}
