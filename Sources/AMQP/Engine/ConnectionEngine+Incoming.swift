// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import NIOCore

// Messages that come, and what the peer says of ours (AMQP 2.6.12 to 2.6.14).
extension ConnectionEngine {
    func transferReceived(_ transfer: Transfer, payload: ByteBuffer, session: Session) {
        guard session.incomingWindow > 0 else {
            fail(session, AMQPError(.windowViolation, "There were more transfer frames than the window allows."))
            return
        }
        session.nextIncomingID &+= 1
        session.incomingWindow -= 1
        defer { openWindow(of: session) }
        guard let link = session.linksByRemoteHandle[transfer.handle] else {
            fail(session, AMQPError(.unattachedHandle, "No link has the handle \(transfer.handle)."))
            return
        }
        guard link.state == .attached else { return }
        guard link.role == .receiver else {
            fail(link, AMQPError(.notAllowed, "Messages go the other way on this link."))
            return
        }
        if link.partial != nil {
            continueDelivery(transfer, payload: payload, link: link)
        } else {
            beginDelivery(transfer, payload: payload, link: link)
        }
    }

    private func beginDelivery(_ transfer: Transfer, payload: ByteBuffer, link: Link) {
        guard let id = transfer.deliveryID, let tag = transfer.deliveryTag else {
            fail(link.session, AMQPError(.invalidField, "The first transfer of a delivery lacks its id or tag."))
            return
        }
        guard tag.readableBytes <= limits.deliveryTagBytesMax else {
            fail(link.session, AMQPError(.invalidField, "The delivery-tag is longer than 32 bytes."))
            return
        }
        link.deliveryCount &+= 1
        if link.credit > 0 {
            link.credit -= 1
        } else {
            link.creditOverrun += 1
            guard link.creditOverrun <= limits.creditOverrunMax else {
                fail(link, AMQPError(.transferLimitExceeded, "There were more messages than the credit allows."))
                return
            }
        }
        guard transfer.aborted != true else {
            topUpCredit(link)
            return
        }
        guard isWithinSize(payload.readableBytes, link: link) else { return }
        var delivery = IncomingDelivery(
            id: id,
            tag: tag,
            messageFormat: transfer.messageFormat ?? 0,
            isSettled: transfer.settled ?? false,
            payload: payload
        )
        guard transfer.more == true else {
            complete(delivery, link: link)
            return
        }
        guard incompleteBytes + payload.readableBytes <= limits.incompleteDeliveryBytesMax else {
            fail(AMQPError(.resourceLimitExceeded, "There are too many unfinished deliveries."))
            return
        }
        incompleteBytes += payload.readableBytes
        // In memory of its own: a slice would hold on to all that was read with it for as long as the rest takes.
        delivery.payload = ByteBuffer(bytes: payload.readableBytesView)
        delivery.tag = ByteBuffer(bytes: tag.readableBytesView)
        link.partial = Link.PartialDelivery(delivery: delivery, frames: 1)
    }

    private func continueDelivery(_ transfer: Transfer, payload: ByteBuffer, link: Link) {
        guard var partial = link.partial else { return }
        if let id = transfer.deliveryID, id != partial.delivery.id {
            fail(link.session, AMQPError(.invalidField, "A delivery begins before the one before it is complete."))
            return
        }
        link.partial = nil
        let before = partial.delivery.payload.readableBytes
        incompleteBytes -= before
        guard transfer.aborted != true else {
            topUpCredit(link)
            return
        }
        guard isWithinSize(before + payload.readableBytes, link: link) else { return }
        partial.frames += 1
        partial.delivery.payload.writeImmutableBuffer(payload)
        if transfer.settled == true { partial.delivery.isSettled = true }
        guard transfer.more == true else {
            complete(partial.delivery, link: link)
            return
        }
        let after = partial.delivery.payload.readableBytes
        guard incompleteBytes + after <= limits.incompleteDeliveryBytesMax, partial.frames < limits.framesPerDeliveryMax
        else {
            fail(AMQPError(.resourceLimitExceeded, "There are too many unfinished deliveries."))
            return
        }
        incompleteBytes += after
        link.partial = partial
    }

    private func isWithinSize(_ bytes: Int, link: Link) -> Bool {
        guard UInt64(bytes) <= link.messageBytesMax else {
            let text = "A message is larger than the \(link.messageBytesMax) bytes that this link allows."
            fail(link, AMQPError(.messageSizeExceeded, text))
            return false
        }
        return true
    }

    private func complete(_ delivery: IncomingDelivery, link: Link) {
        if !delivery.isSettled { link.session.unsettledIncoming += 1 }
        if link.holdsCredit { link.underWay += 1 }
        events.append(.delivery(link, delivery))
        topUpCredit(link)
    }

    /// Opens a session's window again when half of it was used, as far as there is room for more unsettled deliveries:
    /// a peer is never sent away for what it was allowed to send (AMQP 2.5.6).
    func openWindow(of session: Session) {
        guard session.state == .active, session.incomingWindow <= session.incomingWindowMax / 2 else { return }
        let room = UInt32(clamping: max(0, limits.unsettledMax - session.unsettledIncoming))
        let window = min(session.incomingWindowMax, room)
        // In steps, where room is made bit by bit.
        guard window > session.incomingWindow, window - session.incomingWindow >= session.incomingWindowMax / 2 else {
            return
        }
        session.incomingWindow = window
        writeFlow(session)
    }

    private func topUpCredit(_ link: Link) {
        let held = link.credit &+ link.underWay
        guard link.creditTarget > 0, held <= link.creditTarget / 2 else { return }
        grantCredit(link.creditTarget - link.underWay, to: link)
    }

    /// Says that messages of a link that was accepted with credit until they are done are done.
    public func done(_ count: UInt32 = 1, on link: Link) {
        link.underWay -= min(count, link.underWay)
        topUpCredit(link)
    }

    func dispositionReceived(_ disposition: Disposition, session: Session) {
        // What a sender says of its own settled deliveries changes nothing here.
        guard disposition.role == .receiver, session.unsettledOutgoing.count > 0 else { return }
        let last = disposition.last ?? disposition.first
        let count = last &- disposition.first
        guard count < 1 << 31 else {
            fail(session, AMQPError(.invalidField, "The range of a disposition ends before it begins."))
            return
        }
        let stage: UnsettledDeliveries.Stage =
            switch disposition.state {
            case _ where disposition.settled == true: .settled
            case .accepted, .rejected, .released, .modified: .decided
            default: .received
            }
        let wasFull = session.unsettledOutgoing.count >= limits.unsettledMax
        for (id, link) in session.unsettledOutgoing.advance(disposition.first, through: last, to: stage) {
            events.append(
                .disposition(link, deliveryID: id, state: disposition.state, settled: stage == .settled)
            )
        }
        if wasFull, session.unsettledOutgoing.count < limits.unsettledMax {
            events.append(.flow(session, nil, windowOpened: true))
        }
    }
}
