// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

public import NIOCore

/// What the engine tells its driver; every answer is a call of a method of ``ConnectionEngine``.
public enum ConnectionEvent {
    /// The client wants to authenticate; the engine waits for ``ConnectionEngine/finishSASL(_:)``. Servers only.
    case saslInit(SASLInit)
    /// How authentication ended. Clients only.
    case saslOutcome(SASLOutcomeCode)
    /// The peer opened the connection; the engine has answered.
    case opened(Open)
    /// A session is begun on both sides.
    case begun(Session)
    /// The peer attached a link, to be answered by accept or refuse, or answered one of ours.
    case attached(Link)
    /// A message arrived as a whole.
    case delivery(Link, IncomingDelivery)
    /// A session has more room, or a link more credit, or the peer wants a link drained.
    case flow(Session, Link?, windowOpened: Bool)
    /// The peer told the state of a delivery of ours.
    case disposition(Link, deliveryID: UInt32, state: DeliveryState?, settled: Bool)
    /// A link is gone, by the peer's wish or because the peer broke a rule.
    case detached(Link, AMQPError?)
    /// A session and these links of it are gone, by the peer's wish or because the peer broke a rule.
    case ended(Session, links: [Link], AMQPError?)
    /// The peer closed the connection; the engine has answered.
    case closed(AMQPError?)
    /// The peer broke a rule of the connection; what tells it so is in the output, and nothing more is read.
    case failed(AMQPError)
}

/// A message that arrived.
public struct IncomingDelivery: Equatable, Sendable {
    /// Its number in the session.
    public var id: UInt32
    /// Its name on the link.
    public var tag: ByteBuffer
    /// How the payload is encoded: 0 for the sections of the standard.
    public var messageFormat: UInt32
    /// Whether the sender needs no answer.
    public var isSettled: Bool
    /// The payload; it may share memory with what was received.
    public var payload: ByteBuffer
}
