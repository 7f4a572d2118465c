// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import NIOCore

// Begin, end and session flow control (AMQP 2.5).
extension ConnectionEngine {
    /// Begins a session; ``ConnectionEvent/begun(_:)`` follows when the peer has answered.
    ///
    /// - Returns: The session; nil when no channel is free.
    public func begin() -> Session? {
        let highest = min(limits.channelMax, remoteOpen?.channelMax ?? .max)
        guard sessionsByLocalChannel.count < limits.sessionsMax,
            let channel = (0...highest).first(where: { sessionsByLocalChannel[$0] == nil })
        else { return nil }
        let session = Session(
            channel: channel,
            state: .beginSent,
            nextOutgoingID: 0,
            incomingWindow: initialWindow
        )
        sessionsByLocalChannel[channel] = session
        let begin = Begin(
            nextOutgoingID: session.nextOutgoingID,
            incomingWindow: session.incomingWindow,
            outgoingWindow: session.outgoingWindow,
            handleMax: limits.handleMax
        )
        Frame.write(to: &output, channel: channel) { begin.encode(into: &$0) }
        return session
    }

    func beginReceived(_ begin: Begin, channel: UInt16) {
        // AMQP 2.7.1: a channel beyond the announced one is a framing error.
        guard channel <= limits.channelMax else {
            fail(AMQPError(.framingError, "The channel \(channel) is beyond channel-max."))
            return
        }
        if let old = sessionsByRemoteChannel[channel] {
            guard old.state == .endSent else {
                fail(AMQPError(.illegalState, "A session is begun on channel \(channel) already."))
                return
            }
            forget(old)
        }
        if let ours = begin.remoteChannel {
            beginAnswered(begin, channel: channel, ours: ours)
            return
        }
        guard sessionsByLocalChannel.count < limits.sessionsMax + limits.sessionsRefusedMax else {
            fail(AMQPError(.resourceLimitExceeded, "Too many sessions were begun after the limit was reached."))
            return
        }
        endedChannels.remove(channel)
        guard let ours = self.channel(answering: channel) else {
            fail(AMQPError(.resourceLimitExceeded, "There are too many sessions on this connection."))
            return
        }
        let session = Session(channel: ours, state: .active, nextOutgoingID: 1, incomingWindow: initialWindow)
        session.remoteChannel = channel
        session.remoteBegin = begin
        session.nextIncomingID = begin.nextOutgoingID
        session.remoteIncomingWindow = begin.incomingWindow
        session.outgoingWindow = begin.incomingWindow
        sessionsByRemoteChannel[channel] = session
        sessionsByLocalChannel[ours] = session
        let reply = Begin(
            remoteChannel: channel,
            nextOutgoingID: session.nextOutgoingID,
            incomingWindow: session.incomingWindow,
            outgoingWindow: session.outgoingWindow,
            handleMax: limits.handleMax
        )
        Frame.write(to: &output, channel: ours) { reply.encode(into: &$0) }
        guard sessionsByLocalChannel.count <= limits.sessionsMax else {
            // It stays in the tables until the peer ends it, with nothing that the peer has sent.
            session.remoteBegin = nil
            end(session, AMQPError(.resourceLimitExceeded, "There are too many sessions on this connection."))
            return
        }
        events.append(.begun(session))
    }

    /// No more frames than deliveries may be unsettled, so that the window alone keeps a peer within both bounds.
    private var initialWindow: UInt32 { min(limits.incomingWindow, UInt32(clamping: limits.unsettledMax)) }

    /// Our channel for a session of the peer: its own number, unless we use that or it is beyond what the peer takes.
    private func channel(answering theirs: UInt16) -> UInt16? {
        let highest = min(limits.channelMax, remoteOpen?.channelMax ?? .max)
        if theirs <= highest, sessionsByLocalChannel[theirs] == nil { return theirs }
        return (0...highest).first { sessionsByLocalChannel[$0] == nil }
    }

    private func beginAnswered(_ begin: Begin, channel: UInt16, ours: UInt16) {
        guard let session = sessionsByLocalChannel[ours], session.remoteChannel == nil else {
            fail(AMQPError(.invalidField, "The remote-channel of a begin names no session."))
            return
        }
        endedChannels.remove(channel)
        session.remoteChannel = channel
        session.remoteBegin = begin
        session.nextIncomingID = begin.nextOutgoingID
        session.remoteIncomingWindow = begin.incomingWindow
        sessionsByRemoteChannel[channel] = session
        guard session.state == .beginSent else { return }
        session.state = .active
        events.append(.begun(session))
    }

    /// Ends a session; what still comes on it is ignored.
    ///
    /// - Returns: The links that are gone with it.
    @discardableResult
    public func end(_ session: Session, _ error: AMQPError? = nil) -> [Link] {
        guard session.state == .active || session.state == .beginSent, !isClosed else { return [] }
        writePendingSettlement(session)
        session.state = .endSent
        let (channel, error) = (session.channel, fitting(error))
        Frame.write(to: &output, channel: channel) { End(error: error).encode(into: &$0) }
        return dropLinks(of: session)
    }

    /// Ends a session because the peer broke one of its rules.
    func fail(_ session: Session, _ error: AMQPError) {
        guard session.state == .active else { return }
        let links = end(session, error)
        events.append(.ended(session, links: links, error))
    }

    func endReceived(_ end: End, session: Session) {
        let wasActive = session.state == .active
        if wasActive {
            writePendingSettlement(session)
            let channel = session.channel
            Frame.write(to: &output, channel: channel) { End().encode(into: &$0) }
        }
        let links = dropLinks(of: session)
        forget(session)
        if wasActive { events.append(.ended(session, links: links, end.error)) }
    }

    private func forget(_ session: Session) {
        session.state = .ended
        sessionsByLocalChannel[session.channel] = nil
        guard let channel = session.remoteChannel else { return }
        sessionsByRemoteChannel[channel] = nil
        endedChannels.insert(channel)
    }

    /// Frees what the links of a session hold, and the links from the session.
    private func dropLinks(of session: Session) -> [Link] {
        let links = session.links
        for link in links {
            releaseBuffers(of: link)
            if link.state != .detached { linkCount -= 1 }
            link.state = .detached
        }
        session.linksByRemoteHandle.removeAll()
        session.linksByLocalHandle.removeAll()
        session.namedLinks.removeAll()
        session.unansweredLinks.removeAll()
        session.unsettledOutgoing.removeAll()
        session.unfinished.removeAll()
        return links
    }

    func releaseBuffers(of link: Link) {
        if let partial = link.partial { incompleteBytes -= partial.delivery.payload.readableBytes }
        if let unfinished = link.unfinished { unfinishedBytes -= unfinished.rest.readableBytes }
        link.partial = nil
        link.unfinished = nil
        link.credit = 0
    }

    func flowReceived(_ flow: Flow, session: Session) {
        let before = session.remoteIncomingWindow
        session.nextIncomingID = flow.nextOutgoingID
        // AMQP 2.5.6, with the number of frames in flight written out so that a window of 2^32-1 does not wrap.
        let inFlight =
            flow.nextIncomingID.map { session.nextOutgoingID &- $0 } ?? session.nextOutgoingID
            &- session.initialOutgoingID
        let known = inFlight < 1 << 31 ? inFlight : 0
        session.remoteIncomingWindow = flow.incomingWindow > known ? flow.incomingWindow - known : 0
        if session.remoteIncomingWindow > 0 { sendUnfinished(session) }
        let opened = before == 0 && session.remoteIncomingWindow > 0
        guard let handle = flow.handle else {
            if flow.echo == true { writeFlow(session) }
            events.append(.flow(session, nil, windowOpened: opened))
            return
        }
        guard let link = session.linksByRemoteHandle[handle] else {
            fail(session, AMQPError(.unattachedHandle, "No link has the handle \(handle)."))
            return
        }
        linkFlowReceived(flow, link: link, windowOpened: opened)
    }

    /// Tells the flow state of the session, and of `link` when one is given.
    func writeFlow(_ session: Session, link: Link? = nil, drain: Bool? = nil, echo: Bool? = nil) {
        var flow = Flow(
            nextIncomingID: session.remoteChannel == nil ? nil : session.nextIncomingID,
            incomingWindow: session.incomingWindow,
            nextOutgoingID: session.nextOutgoingID,
            outgoingWindow: session.outgoingWindow
        )
        if let link {
            flow.handle = link.handle
            flow.deliveryCount = link.deliveryCount
            flow.linkCredit = link.credit
            flow.available = 0
            flow.drain = drain
        }
        flow.echo = echo ?? false
        let channel = session.channel
        Frame.write(to: &output, channel: channel) { flow.encode(into: &$0) }
    }
}
