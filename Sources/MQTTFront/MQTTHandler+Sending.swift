// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import Hub
import HubModel
import MQTT
import NIOCore

/// What goes to the client.
extension MQTTHandler {
    /// Sends what has gathered; the promise is kept when it was handed to the network.
    func flush(_ promise: EventLoopPromise<Void>? = nil) {
        guard outbound.readableBytes > 0, let context else {
            promise?.succeed()
            return
        }
        let bytes = outbound
        outbound = ByteBuffer()
        let isTaken = context.channel.isWritable
        context.writeAndFlush(wrapOutboundOut(bytes), promise: promise)
        guard !isTaken else { return }
        // Answers, notices and calls are not dropped, so that none is lost unseen; a client that does not take them at
        // all ends, and asks for the state of things when it is back.
        bytesUnread += bytes.readableBytes
        if bytesUnread > front.limits.bytesUnreadMax { close(.unread) }
    }

    /// Sends the acknowledgements that may leave now.
    func sendAcknowledgements() {
        guard machine.acknowledgements.drain(into: &outbound) > 0 else { return }
        if !isDecoding { flush() }
    }

    /// Lets a PUBACK leave as soon as those before it have.
    func owedNoMore(_ acknowledgement: UInt64) {
        machine.acknowledgements.complete(first: acknowledgement, count: 1)
        _ = machine.acknowledgements.drain(into: &outbound)
    }

    /// Sends at QoS 0, if the client's filters cover the topic.
    func send(_ topic: HubTopic, _ payload: ByteBuffer) {
        guard let scope else { return }
        let name = topic.printed(in: scope)
        guard machine.subscriptions.granted(for: name) != nil else { return }
        // Only a request id that fills its topic can make the answer's topic too long.
        guard name.utf8.count <= Int(UInt16.max) else { return close(.topicForbidden) }
        do throws(MQTTError) {
            try Publish(topic: ByteBuffer(string: name), payload: payload).encode(into: &outbound)
        } catch {
            preconditionFailure("a PUBLISH that can't be written: \(error)")
        }
    }

    // MARK: What the hub sends by itself

    /// Tells the client that its desired properties were written.
    func desiredPatchDelivered(_ notice: DesiredNotice) {
        guard !isClosing else { return }
        send(.desiredPatch(version: notice.version), notice.payload)
        flush()
    }

    /// Tells the hub what the client's filters cover.
    func subscriptionsChanged() {
        guard let session, let scope else { return }
        let wanted = scope.interests(of: machine.subscriptions)
        for interest in [Directory.Interests.desired, .methods, .commands] {
            let wants = wanted.contains(interest)
            if wants != interests.contains(interest) { session.wants(interest, wants) }
        }
        interests = wanted
    }
}
