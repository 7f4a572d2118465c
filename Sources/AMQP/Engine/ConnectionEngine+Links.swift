// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import NIOCore

// Attach, detach, credit and drain (AMQP 2.6).
extension ConnectionEngine {
    /// Attaches a link of ours; ``ConnectionEvent/attached(_:)`` follows when the peer has accepted it.
    ///
    /// - Parameters:
    ///   - attach: What to ask for; its handle is chosen here.
    ///   - session: The session.
    ///   - credit: For a receiver, how many messages may come at once, and again after half of them came; 0 for credit
    ///     that is only granted by ``grantCredit(_:to:drain:)``.
    /// - Returns: The link; nil when the session is not active or no handle is free.
    public func attach(_ attach: Attach, on session: Session, credit: UInt32 = 0) -> Link? {
        var attach = attach
        let highest = min(limits.handleMax, session.remoteBegin?.handleMax ?? .max)
        guard session.state == .active,
            let handle = (0...highest).first(where: { session.linksByLocalHandle[$0] == nil })
        else { return nil }
        attach.handle = handle
        if attach.role == .sender { attach.initialDeliveryCount = attach.initialDeliveryCount ?? 0 }
        let link = Link(
            session: session,
            name: attach.name,
            role: attach.role,
            handle: handle,
            state: .attachSent,
            remoteAttach: attach
        )
        link.creditTarget = credit
        link.messageBytesMax = attach.maxMessageSize ?? limits.messageBytesMax
        link.deliveryCount = attach.initialDeliveryCount ?? 0
        session.linksByLocalHandle[handle] = link
        session.unansweredLinks.append(link)
        linkCount += 1
        let channel = session.channel
        Frame.write(to: &output, channel: channel) { attach.encode(into: &$0) }
        return link
    }

    func attachReceived(_ attach: Attach, session: Session) {
        // AMQP 2.7.2: a handle beyond the announced one is a framing error.
        guard attach.handle <= limits.handleMax else {
            fail(AMQPError(.framingError, "The handle \(attach.handle) is beyond handle-max."))
            return
        }
        guard session.linksByRemoteHandle[attach.handle] == nil else {
            fail(session, AMQPError(.handleInUse, "The handle \(attach.handle) is in use."))
            return
        }
        let role = attach.role.opposite
        if let ours = session.unansweredLinks.first(where: { $0.role == role && $0.name == attach.name }) {
            attachAnswered(attach, link: ours)
            return
        }
        guard linkCount < limits.linksMax + limits.linksRefusedMax else {
            fail(AMQPError(.resourceLimitExceeded, "Too many links were attached after the limit was reached."))
            return
        }
        guard let handle = handle(answering: attach.handle, session) else {
            fail(session, AMQPError(.resourceLimitExceeded, "There are too many links on this session."))
            return
        }
        let identity = Session.LinkIdentity(name: attach.name, role: role)
        let isDuplicate = session.namedLinks[identity] != nil
        let link = Link(
            session: session,
            name: attach.name,
            role: role,
            handle: handle,
            state: .attachReceived,
            remoteAttach: attach
        )
        link.deliveryCount = role == .receiver ? attach.initialDeliveryCount ?? 0 : 0
        session.linksByRemoteHandle[attach.handle] = link
        session.linksByLocalHandle[handle] = link
        linkCount += 1
        if linkCount > limits.linksMax {
            refuse(link, AMQPError(.resourceLimitExceeded, "There are too many links on this connection."))
        } else if attach.name.utf8.count > limits.linkNameBytesMax {
            refuse(link, AMQPError(.invalidField, "The name of the link is too long."))
        } else if isDuplicate {
            refuse(link, AMQPError(.resourceLocked, "A link of this name and direction is attached already."))
        } else {
            session.namedLinks[identity] = link
            events.append(.attached(link))
        }
    }

    /// Our handle for a link of the peer: its own number, unless we use that or it is beyond what the peer takes.
    private func handle(answering theirs: UInt32, _ session: Session) -> UInt32? {
        let highest = min(limits.handleMax, session.remoteBegin?.handleMax ?? .max)
        if theirs <= highest, session.linksByLocalHandle[theirs] == nil { return theirs }
        return (0...highest).first { session.linksByLocalHandle[$0] == nil }
    }

    private func attachAnswered(_ attach: Attach, link: Link) {
        link.session.linksByRemoteHandle[attach.handle] = link
        link.session.unansweredLinks.removeAll { $0 === link }
        link.remoteAttach = attach
        // A peer that refuses answers without the terminus on its side, and detaches (AMQP 2.6.3).
        if link.role == .receiver ? attach.source == nil : attach.target == nil {
            link.state = .refused
            return
        }
        link.state = .attached
        link.session.namedLinks[Session.LinkIdentity(name: link.name, role: link.role)] = link
        if link.role == .receiver { link.deliveryCount = attach.initialDeliveryCount ?? 0 }
        if link.role == .receiver, link.creditTarget > 0 { grantCredit(link.creditTarget, to: link) }
        events.append(.attached(link))
    }

    /// The answer that accepts a link as the peer asked for it, for the driver to change before ``accept(_:with:credit:)``.
    public func reply(to link: Link) -> Attach {
        var reply = Attach(name: link.name, handle: link.handle, role: link.role)
        reply.senderSettleMode = link.remoteAttach.senderSettleMode
        reply.receiverSettleMode = link.remoteAttach.receiverSettleMode
        // pyamqp treats an answer that lacks either terminus as a refusal.
        reply.source = link.remoteAttach.source ?? Source(address: nil)
        reply.target = link.remoteAttach.target ?? Target(address: nil)
        reply.initialDeliveryCount = link.role == .sender ? 0 : nil
        reply.maxMessageSize = limits.messageBytesMax
        reply.properties = link.remoteAttach.properties
        return reply
    }

    /// Accepts a link of the peer; of its attach only what ``Attach/essence`` holds is kept.
    ///
    /// An answer that does not fit the peer's frames is sent without properties; where that is not enough, the link is
    /// refused, and ``ConnectionEvent/detached(_:_:)`` follows.
    ///
    /// - Parameters:
    ///   - link: The link.
    ///   - reply: The answer, made by ``reply(to:)``.
    ///   - credit: When we receive, how many messages may come at once, and again after half of them came; 0 for credit
    ///     that is only granted by ``grantCredit(_:to:drain:)``.
    ///   - untilDone: Whether a message takes up its credit until ``done(_:on:)`` and not only until it came.
    public func accept(_ link: Link, with reply: Attach, credit: UInt32 = 0, untilDone: Bool = false) {
        // The peer may have detached while the answer was looked for.
        guard link.state == .attachReceived, !isClosed else { return }
        var withoutProperties = reply
        withoutProperties.properties = nil
        guard write(reply, on: link) || write(withoutProperties, on: link) else {
            let error = AMQPError(.frameSizeTooSmall, "The answer to the attach does not fit a frame of the peer.")
            refuse(link, error)
            events.append(.detached(link, error))
            return
        }
        link.state = .attached
        link.remoteAttach = link.remoteAttach.essence
        link.messageBytesMax = reply.maxMessageSize.flatMap { $0 == 0 ? nil : $0 } ?? limits.messageBytesMax
        guard link.role == .receiver else { return }
        link.creditTarget = credit
        link.holdsCredit = untilDone
        if credit > 0 { grantCredit(credit, to: link) }
    }

    /// Refuses a link of the peer: an answer without source and target, then a detach with the error (AMQP 2.6.3).
    ///
    /// - Parameters:
    ///   - link: The link.
    ///   - error: Why.
    ///   - maxMessageSize: What the answer says as max-message-size; nil for ``AMQPLimits/messageBytesMax``.
    ///   - answered: Called when the answer is in the output and the detach is not.
    public func refuse(
        _ link: Link,
        _ error: AMQPError,
        maxMessageSize: UInt64? = nil,
        answered: () -> Void = {}
    ) {
        guard link.state == .attachReceived, !isClosed else { return }
        var reply = reply(to: link)
        reply.senderSettleMode = reply.senderSettleMode ?? .mixed
        reply.receiverSettleMode = reply.receiverSettleMode ?? .first
        reply.source = nil
        reply.target = nil
        reply.properties = nil
        if let maxMessageSize { reply.maxMessageSize = maxMessageSize }
        guard write(reply, on: link) else {
            fail(link.session, AMQPError(.frameSizeTooSmall, "The name of a link does not fit a frame of the peer."))
            return
        }
        answered()
        link.state = .attached
        detach(link, error)
        // It stays in the tables until the peer detaches, with as little as can be of what the peer has sent.
        link.remoteAttach = Attach(name: "", handle: link.remoteAttach.handle, role: link.remoteAttach.role)
        if link.name.utf8.count > limits.linkNameBytesMax { link.name = "" }
    }

    /// Detaches a link for good; what still comes on it is ignored.
    public func detach(_ link: Link, _ error: AMQPError? = nil) {
        guard link.state == .attached || link.state == .attachSent, link.session.state == .active, !isClosed else {
            return
        }
        // An unfinished delivery must not stay open when its link goes (AMQP 2.6.14).
        if let unfinished = link.unfinished { writeAbort(link, id: unfinished.id) }
        writePendingSettlement(link.session)
        releaseBuffers(of: link)
        link.session.unfinished.removeAll { $0 === link }
        link.state = .detachSent
        link.session.forgetName(of: link)
        let (channel, handle, error) = (link.session.channel, link.handle, fitting(error))
        Frame.write(to: &output, channel: channel) { buffer in
            Detach(handle: handle, closed: true, error: error).encode(into: &buffer)
        }
    }

    /// Writes an attach unless it is larger than a frame of the peer may be: unlike a transfer it cannot be cut.
    private func write(_ attach: Attach, on link: Link) -> Bool {
        let (start, channel) = (output.writerIndex, link.session.channel)
        Frame.write(to: &output, channel: channel) { attach.encode(into: &$0) }
        guard output.writerIndex - start > Int(peerFrameBytesMax) else { return true }
        output.moveWriterIndex(to: start)
        return false
    }

    /// Detaches a link because the peer broke one of its rules.
    func fail(_ link: Link, _ error: AMQPError) {
        guard link.state == .attached else { return }
        detach(link, error)
        events.append(.detached(link, error))
    }

    func detachReceived(_ detach: Detach, session: Session) {
        // A second detach of the same link is harmless, and some clients send it.
        guard let link = session.linksByRemoteHandle[detach.handle] else { return }
        let before = link.state
        if before == .attached || before == .attachReceived || before == .refused {
            let (channel, handle) = (session.channel, link.handle)
            Frame.write(to: &output, channel: channel) { buffer in
                Detach(handle: handle, closed: detach.closed ?? false).encode(into: &buffer)
            }
        }
        releaseBuffers(of: link)
        session.unfinished.removeAll { $0 === link }
        session.unsettledOutgoing.removeAll(of: link)
        session.forgetName(of: link)
        link.state = .detached
        session.linksByRemoteHandle[detach.handle] = nil
        session.linksByLocalHandle[link.handle] = nil
        linkCount -= 1
        if before != .detachSent { events.append(.detached(link, detach.error)) }
    }

    // MARK: Credit

    /// Lets the peer send until `credit` more messages came (AMQP 2.6.7).
    public func grantCredit(_ credit: UInt32, to link: Link, drain: Bool = false) {
        guard link.role == .receiver, link.state == .attached, !isClosed else { return }
        link.credit = credit
        link.creditOverrun = 0
        writeFlow(link.session, link: link, drain: drain ? true : nil)
    }

    func linkFlowReceived(_ flow: Flow, link: Link, windowOpened: Bool) {
        // The window is open for the other links, whatever becomes of this one.
        if link.state != .attached { events.append(.flow(link.session, nil, windowOpened: windowOpened)) }
        // Credit that comes before the answer to an attach counts once the link is accepted.
        guard link.state == .attached || link.state == .attachReceived else { return }
        switch link.role {
        case .sender:
            let outstanding = link.deliveryCount &- (flow.deliveryCount ?? 0)
            let known = outstanding < 1 << 31 ? outstanding : 0
            let granted = flow.linkCredit ?? 0
            link.credit = granted > known ? granted - known : 0
            link.isDraining = flow.drain ?? false
        case .receiver:
            // The sender counts on without messages when it drains.
            if let count = flow.deliveryCount {
                let skipped = count &- link.deliveryCount
                if skipped < 1 << 31 {
                    link.credit -= min(link.credit, skipped)
                    link.deliveryCount = count
                }
            }
            if link.creditTarget > link.underWay, link.credit == 0 {
                grantCredit(link.creditTarget - link.underWay, to: link)
            }
        }
        guard link.state == .attached else { return }
        if flow.echo == true, !link.isDraining { writeFlow(link.session, link: link) }
        events.append(.flow(link.session, link, windowOpened: windowOpened))
    }

    /// Uses up the credit of a link that is draining, when nothing is left to send (AMQP 2.6.7).
    public func drained(_ link: Link) {
        guard link.isDraining, link.state == .attached, link.unfinished == nil else { return }
        link.isDraining = false
        link.deliveryCount &+= link.credit
        link.credit = 0
        writeFlow(link.session, link: link, drain: true)
    }
}
