// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import Hub
import HubModel
import JSON
import MQTT
import NIOCore

/// The conversation about the twin (docs/wire/mqtt.md#twins).
extension MQTTHandler {
    /// Answers the wish for the whole twin; `acknowledgement` is the number of the PUBACK that is owed, nil at QoS 0.
    func twinReadReceived(requestID: String?, acknowledgement: UInt64?) {
        // Nobody could tell what the answer belongs to.
        guard let requestID else { return close(.topicForbidden) }
        guard let session else { preconditionFailure("a twin without a session") }
        // A read changes nothing, so there is nothing for the PUBACK to wait for; it goes before the answer.
        if let acknowledgement { owedNoMore(acknowledgement) }
        session.twin().assumeIsolated().whenComplete { result in
            guard !self.isClosing else { return }
            switch result {
            case .success(let document):
                self.send(.twinResponse(status: 200, requestID: requestID, version: nil), document)
            case .failure(let error):
                self.sendRefusal(TwinRefusal(error), requestID: requestID)
            }
            self.twinRequestEnded()
        }
    }

    /// Merges a patch into the reported properties.
    ///
    /// - Parameters:
    ///   - publish: the message; its body is the patch
    ///   - requestID: nil where no answer is wanted
    ///   - version: the version that the properties must have, nil for any
    ///   - acknowledgement: the number of the PUBACK that is owed, nil at QoS 0
    func reportReceived(_ publish: Publish, requestID: String?, version: Int64?, acknowledgement: UInt64?) {
        guard let session else { preconditionFailure("a twin without a session") }
        // Copied, so that a patch that waits does not keep the read buffer alive.
        let patch = ByteBuffer(publish.payload.readableBytesView)
        let size = patch.readableBytes
        bytesInFlight += size
        session.report(patch, ifVersion: version).assumeIsolated().whenComplete { result in
            self.bytesInFlight -= size
            guard !self.isClosing else { return }
            switch result {
            case .success(let version):
                if let acknowledgement { self.owedNoMore(acknowledgement) }
                guard let requestID else { break }
                self.send(.twinResponse(status: 204, requestID: requestID, version: version), ByteBuffer())
            case .failure(let error):
                let refusal = TwinRefusal(error)
                // Without an answer only the missing PUBACK tells the client that the hub could not take it now.
                guard requestID != nil || !refusal.mayPass else { return self.close(.storageFailed) }
                if let acknowledgement { self.owedNoMore(acknowledgement) }
                guard let requestID else { break }
                self.sendRefusal(refusal, requestID: requestID)
            }
            self.twinRequestEnded()
        }
    }

    // MARK: Parts

    private func twinRequestEnded() {
        // Both hold back while packets are decoded; what was written then leaves at the end of that.
        resume()
        closeIfQuiet()
    }

    private func sendRefusal(_ refusal: TwinRefusal, requestID: String) {
        send(
            .twinResponse(status: refusal.status, requestID: requestID, version: nil),
            refusal.body(nowMilliseconds: front.hub.clock.milliseconds)
        )
    }
}

extension TwinRefusal {
    /// The body; the SDK for Node decides by `errorCode` alone, and shows `message`.
    func body(nowMilliseconds: Int64) -> ByteBuffer {
        let time = UTCTime.text(milliseconds: nowMilliseconds)
        let random = String(UInt64.random(in: .min ... .max), radix: 16)
        var writer = JSONWriter()
        writer.beginObject()
        writer.member("errorCode", number)
        writer.member("trackingId", "\(random)-TimeStamp:\(time)")
        writer.member("message", "ErrorCode:\(name);\(message)")
        writer.member("timestampUtc", time)
        writer.endObject()
        return writer.buffer
    }
}
