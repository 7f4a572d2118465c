// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import NIOCore

/// One link of a session, as the engine keeps it (AMQP 2.6).
///
/// | state | meaning | next |
/// | --- | --- | --- |
/// | attachReceived | the peer attached, we have not answered | attached, detachSent |
/// | attachSent | we attached, the peer has not answered | attached, refused |
/// | refused | the peer answered without terminus, its detach follows | detached |
/// | attached | both sides have attached | detachSent, detached |
/// | detachSent | we detached, what comes is ignored until the peer does | detached |
/// | detached | gone | |
public final class Link {
    /// Where a link is in its life.
    public enum State: Sendable {
        /// The peer attached, we have not answered.
        case attachReceived
        /// We attached, the peer has not answered.
        case attachSent
        /// The peer answered without terminus; its detach follows.
        case refused
        /// Both sides have attached.
        case attached
        /// We detached; what still comes is ignored.
        case detachSent
        /// Gone.
        case detached
    }

    /// A delivery of which more frames are to come.
    struct PartialDelivery {
        var delivery: IncomingDelivery
        var frames: Int
    }

    /// What is left to send of a delivery that did not fit one frame or the session's window.
    struct UnfinishedDelivery {
        var id: UInt32
        var isSettled: Bool
        var rest: ByteBuffer
    }

    /// The session of the link.
    public let session: Session
    /// The name of the link.
    public internal(set) var name: String
    /// Which end we are.
    public let role: LinkRole
    /// The number by which we name the link.
    public let handle: UInt32
    /// Where the link is in its life.
    public internal(set) var state: State
    /// The peer's attach; for a link of ours our own until the peer answers.
    ///
    /// Once the link is accepted only its ``Attach/essence`` is kept, and next to nothing once it is refused.
    public internal(set) var remoteAttach: Attach
    /// Free for the driver, for example an index into its table of nodes.
    public var tag = -1

    /// How many deliveries the link has seen (AMQP 2.6.7).
    public internal(set) var deliveryCount: UInt32 = 0
    /// How many more deliveries the receiver accepts.
    public internal(set) var credit: UInt32 = 0
    /// Whether the peer wants us to use up the credit, to be answered by ``ConnectionEngine/drained(_:)``.
    public internal(set) var isDraining = false

    // Sending.
    var nextTag: UInt32 = 0
    var unfinished: UnfinishedDelivery?

    // Receiving.
    var messageBytesMax: UInt64 = 0
    var creditTarget: UInt32 = 0
    var creditOverrun: UInt32 = 0
    /// Whether messages take up credit until they are done.
    var holdsCredit = false
    /// How many messages were handed over and are not done, where they take up credit until then.
    var underWay: UInt32 = 0
    var partial: PartialDelivery?

    /// Whether a message could be sent as far as this link is concerned.
    public var hasCredit: Bool { credit > 0 && state == .attached && unfinished == nil }

    init(session: Session, name: String, role: LinkRole, handle: UInt32, state: State, remoteAttach: Attach) {
        self.session = session
        self.name = name
        self.role = role
        self.handle = handle
        self.state = state
        self.remoteAttach = remoteAttach
    }
}

@available(*, unavailable)
extension Link: Sendable {}
