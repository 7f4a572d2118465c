// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

public import NIOCore

// Messages that go, and what we say of those that came (AMQP 2.6.12 to 2.6.14).
extension ConnectionEngine {
    /// Whether a message may be sent on `link` now: it has credit, its session room, and nothing waits to be finished.
    public func canSend(on link: Link) -> Bool {
        link.hasCredit && link.session.remoteIncomingWindow > 0
            && link.session.unsettledOutgoing.count < limits.unsettledMax
            && !isOutgoingFull && !isClosed
    }

    /// Whether as much waits for the windows of all sessions as may.
    var isOutgoingFull: Bool { unfinishedBytes > limits.pendingOutgoingBytesMax }

    /// Sends one message; only when ``canSend(on:)``.
    ///
    /// When the message does not fit one frame it is cut, and what the session's window does not allow yet is kept and
    /// sent as the window opens. Nothing is allocated for a message that fits.
    ///
    /// - Parameters:
    ///   - link: The link.
    ///   - settled: Whether no answer is wanted.
    ///   - tag: The delivery-tag, at most 32 bytes; nil for a counter of four bytes.
    ///   - messageFormat: How the payload is encoded: 0 for the sections of the standard.
    ///   - payload: Appends the payload, which must not be empty.
    /// - Returns: The number of the delivery in its session.
    @discardableResult
    public func send(
        on link: Link,
        settled: Bool,
        tag: ByteBuffer? = nil,
        messageFormat: UInt32 = 0,
        payload: (inout ByteBuffer) -> Void
    ) -> UInt32 {
        if output.capacity == 0 { output.reserveCapacity(outputCapacityHint) }
        let id = beginTransfer(on: link, settled: settled, tag: tag, messageFormat: messageFormat)
        // The buffer is taken out so that the closure works on memory that nobody else may touch.
        var buffer = output
        output = ByteBuffer()
        payload(&buffer)
        output = buffer
        buffer = ByteBuffer()
        endTransfer(on: link, id: id, settled: settled)
        return id
    }

    private func beginTransfer(on link: Link, settled: Bool, tag: ByteBuffer?, messageFormat: UInt32) -> UInt32 {
        precondition(canSend(on: link), "a message may not be sent on this link now")
        let session = link.session
        writePendingSettlement(session)
        let id = session.nextDeliveryID
        session.nextDeliveryID &+= 1
        link.deliveryCount &+= 1
        link.credit -= 1
        link.nextTag &+= 1
        if !settled { session.unsettledOutgoing.append(id, link: link) }
        transferStart = Frame.begin(in: &output, kind: .amqp, channel: session.channel)
        output.writeMultipleIntegers(UInt8(0), TypeCode.ulongSmall, Descriptor.transfer)
        // The whole field count, as every performative of ours has it; the size is known at the end.
        let sizeIndex = output.writerIndex + 1
        output.writeMultipleIntegers(TypeCode.list8, UInt8(0), UInt8(11))
        output.writeAMQPUInt(link.handle)
        output.writeAMQPUInt(id)
        if let tag {
            output.writeAMQPBinary(tag)
        } else {
            output.writeMultipleIntegers(TypeCode.binary8, UInt8(4), link.nextTag)
        }
        output.writeAMQPUInt(messageFormat)
        output.writeInteger(settled ? TypeCode.booleanTrue : TypeCode.booleanFalse)
        transferMoreIndex = output.writerIndex
        // more, rcv-settle-mode, state, resume, aborted, batchable
        output.writeMultipleIntegers(UInt8(0x42), UInt8(0x40), UInt8(0x40), UInt8(0x40), UInt8(0x40), UInt8(0x42))
        output.setInteger(UInt8(output.writerIndex - sizeIndex - 1), at: sizeIndex)
        transferPayloadStart = output.writerIndex
        return id
    }

    private func endTransfer(on link: Link, id: UInt32, settled: Bool) {
        let session = link.session
        let size = output.writerIndex - transferStart
        precondition(output.writerIndex > transferPayloadStart, "a message must not be empty")
        session.nextOutgoingID &+= 1
        session.remoteIncomingWindow -= 1
        guard size > Int(peerFrameBytesMax) else {
            Frame.end(in: &output, start: transferStart)
            return
        }
        let end = transferStart + Int(peerFrameBytesMax)
        var rest = ByteBuffer()
        rest.writeBytes(output.readableBytesView[end..<output.writerIndex])
        output.moveWriterIndex(to: end)
        output.setInteger(TypeCode.booleanTrue, at: transferMoreIndex)
        Frame.end(in: &output, start: transferStart)
        unfinishedBytes += rest.readableBytes
        link.unfinished = Link.UnfinishedDelivery(id: id, isSettled: settled, rest: rest)
        session.unfinished.append(link)
        sendUnfinished(session)
    }

    /// Sends what is left of deliveries that were begun, as far as the session's window allows.
    func sendUnfinished(_ session: Session) {
        while let link = session.unfinished.first {
            guard var unfinished = link.unfinished else {
                session.unfinished.removeFirst()
                continue
            }
            link.unfinished = nil
            unfinishedBytes -= unfinished.rest.readableBytes
            while unfinished.rest.readableBytes > 0, session.remoteIncomingWindow > 0 {
                writeContinuation(link, &unfinished)
            }
            guard unfinished.rest.readableBytes == 0 else {
                unfinishedBytes += unfinished.rest.readableBytes
                link.unfinished = unfinished
                return
            }
            session.unfinished.removeFirst()
        }
    }

    private func writeContinuation(_ link: Link, _ unfinished: inout Link.UnfinishedDelivery) {
        let session = link.session
        let start = Frame.begin(in: &output, kind: .amqp, channel: session.channel)
        var transfer = Transfer(handle: link.handle)
        transfer.deliveryID = unfinished.id
        transfer.settled = unfinished.isSettled
        transfer.more = false
        transfer.batchable = false
        transfer.encode(into: &output)
        let room = Int(peerFrameBytesMax) - (output.writerIndex - start)
        if unfinished.rest.readableBytes > room {
            output.moveWriterIndex(to: start + Frame.headerBytes)
            transfer.more = true
            transfer.encode(into: &output)
        }
        if var chunk = unfinished.rest.readSlice(length: min(room, unfinished.rest.readableBytes)) {
            output.writeBuffer(&chunk)
        }
        Frame.end(in: &output, start: start)
        session.nextOutgoingID &+= 1
        session.remoteIncomingWindow -= 1
    }

    func writeAbort(_ link: Link, id: UInt32) {
        guard link.session.remoteIncomingWindow > 0 else { return }
        var transfer = Transfer(handle: link.handle)
        transfer.deliveryID = id
        transfer.more = false
        transfer.aborted = true
        let channel = link.session.channel
        Frame.write(to: &output, channel: channel) { transfer.encode(into: &$0) }
        link.session.nextOutgoingID &+= 1
        link.session.remoteIncomingWindow -= 1
    }

    // MARK: Settlement

    /// Settles a delivery that came; all that are accepted before the next output share as few dispositions as can be.
    public func settle(_ deliveryID: UInt32, on session: Session, _ state: DeliveryState) {
        guard session.state == .active, !isClosed else { return }
        session.unsettledIncoming = max(0, session.unsettledIncoming - 1)
        openWindow(of: session)
        if !session.isToBeSettled {
            session.isToBeSettled = true
            sessionsToSettle.append(session)
        }
        if case .accepted = state {
            session.acceptedIDs.append(deliveryID)
            return
        }
        if var pending = session.pendingSettlement {
            if pending.last &+ 1 == deliveryID, pending.state == state {
                pending.last = deliveryID
                session.pendingSettlement = pending
                return
            }
            write(pending, on: session)
        }
        session.pendingSettlement = Session.PendingSettlement(first: deliveryID, last: deliveryID, state: state)
    }

    func writePendingSettlement(_ session: Session) {
        let pending = session.pendingSettlement
        session.pendingSettlement = nil
        guard !session.acceptedIDs.isEmpty else {
            if let pending { write(pending, on: session) }
            return
        }
        writeAccepted(session, pending)
    }

    /// Writes what was accepted in as few ranges as can be, and among them one of another outcome.
    private func writeAccepted(_ session: Session, _ pending: Session.PendingSettlement?) {
        var ids = session.acceptedIDs
        session.acceptedIDs.removeAll(keepingCapacity: true)
        // Ids wrap; the ones at hand are near each other. Those of many links come mixed, but mostly in order.
        let base = ids[0] &- 1 << 31
        if zip(ids, ids.dropFirst()).contains(where: { $0 &- base > $1 &- base }) {
            ids.sort { $0 &- base < $1 &- base }
        }
        var other = pending
        func write(_ range: Session.PendingSettlement) {
            if let earlier = other, earlier.first &- base < range.first &- base {
                self.write(earlier, on: session)
                other = nil
            }
            self.write(range, on: session)
        }
        var range = Session.PendingSettlement(first: ids[0], last: ids[0], state: .accepted)
        for id in ids.dropFirst() {
            if id == range.last &+ 1 {
                range.last = id
            } else if id != range.last {
                write(range)
                range = Session.PendingSettlement(first: id, last: id, state: .accepted)
            }
        }
        write(range)
        if let other { self.write(other, on: session) }
    }

    private func write(_ settlement: Session.PendingSettlement, on session: Session) {
        guard session.state == .active else { return }
        let disposition = Disposition(
            role: .receiver,
            first: settlement.first,
            last: settlement.last,
            settled: true,
            state: fitting(settlement.state)
        )
        let channel = session.channel
        Frame.write(to: &output, channel: channel) { disposition.encode(into: &$0) }
    }

    /// Settles a delivery of ours after the receiver told its outcome without settling (AMQP 2.6.12).
    public func confirm(_ deliveryID: UInt32, on session: Session, _ state: DeliveryState) {
        guard session.state == .active, !isClosed else { return }
        session.unsettledOutgoing.remove(deliveryID)
        let disposition = Disposition(
            role: .sender,
            first: deliveryID,
            last: deliveryID,
            settled: true,
            state: fitting(state)
        )
        let channel = session.channel
        Frame.write(to: &output, channel: channel) { disposition.encode(into: &$0) }
    }
}
