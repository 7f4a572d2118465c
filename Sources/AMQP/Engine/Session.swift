// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

/// One session of a connection, as the engine keeps it (AMQP 2.5).
///
/// | state | meaning | next |
/// | --- | --- | --- |
/// | beginSent | we began, the peer has not answered | active |
/// | active | both sides have begun | endSent, ended |
/// | endSent | we ended, frames are ignored until the peer does | ended |
/// | ended | gone | |
public final class Session {
    /// Where a session is in its life.
    public enum State: Sendable {
        /// We began, the peer has not answered.
        case beginSent
        /// Both sides have begun.
        case active
        /// We ended; what still comes is ignored.
        case endSent
        /// Gone.
        case ended
    }

    /// A range of incoming deliveries whose settlement has not been written yet.
    struct PendingSettlement {
        var first: UInt32
        var last: UInt32
        var state: DeliveryState
    }

    /// What no two links of a session share (AMQP 2.6.1).
    struct LinkIdentity: Hashable {
        let name: String
        let role: LinkRole
    }

    /// The channel on which we send.
    public let channel: UInt16
    /// Where the session is in its life.
    public internal(set) var state: State
    /// The peer's begin.
    public internal(set) var remoteBegin: Begin?
    var remoteChannel: UInt16?

    // Session flow control counts transfer frames (AMQP 2.5.6).
    let initialOutgoingID: UInt32
    var nextOutgoingID: UInt32
    var nextIncomingID: UInt32 = 0
    var incomingWindow: UInt32
    /// What the window is opened to.
    let incomingWindowMax: UInt32
    var outgoingWindow: UInt32 = .max
    /// How many transfer frames the peer still accepts.
    public internal(set) var remoteIncomingWindow: UInt32 = 0

    /// One counter for all links of the session, as rhea demands (AMQP 2.6.12).
    var nextDeliveryID: UInt32 = 0
    var linksByRemoteHandle: [UInt32: Link] = [:]
    var linksByLocalHandle: [UInt32: Link] = [:]
    /// The links that the peer has attached or answered, and that are neither refused nor detached.
    var namedLinks: [LinkIdentity: Link] = [:]
    /// The links of ours that the peer has not answered.
    var unansweredLinks: [Link] = []
    var pendingSettlement: PendingSettlement?
    /// Incoming deliveries that were accepted and whose disposition has not been written, in any order.
    var acceptedIDs: [UInt32] = []
    /// Whether the session is among those whose settlement is to be written.
    var isToBeSettled = false
    var unsettledIncoming = 0
    var unsettledOutgoing = UnsettledDeliveries()
    /// Links with a delivery of which frames are left to send, in the order in which they began.
    var unfinished: [Link] = []

    /// All links of the session that are not gone.
    public var links: [Link] { Array(linksByLocalHandle.values) }

    /// Takes a link out of the tables that find it by its name.
    func forgetName(of link: Link) {
        let identity = LinkIdentity(name: link.name, role: link.role)
        if namedLinks[identity] === link { namedLinks[identity] = nil }
        unansweredLinks.removeAll { $0 === link }
    }

    init(channel: UInt16, state: State, nextOutgoingID: UInt32, incomingWindow: UInt32) {
        self.channel = channel
        self.state = state
        initialOutgoingID = nextOutgoingID
        self.nextOutgoingID = nextOutgoingID
        self.incomingWindow = incomingWindow
        incomingWindowMax = incomingWindow
    }
}

@available(*, unavailable)
extension Session: Sendable {}
