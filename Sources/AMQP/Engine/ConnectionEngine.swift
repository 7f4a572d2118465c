// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

public import NIOCore

/// The rules of one AMQP 1.0 connection, without I/O and without clock.
///
/// Bytes that arrive go in by ``receive(_:now:)``; ``nextEvent()`` is called until it returns nil, and the events answered
/// by the methods here before the next one is asked for. What is to be sent gathers in the output, which
/// ``takeOutput(now:)`` hands over. Times are milliseconds of any clock that does not go back.
///
/// | state | meaning | next |
/// | --- | --- | --- |
/// | start | no header has come | sasl, opening |
/// | sasl | the mechanisms are told, a choice is awaited | deciding, header |
/// | deciding | the driver decides on a client's credentials | header, closed |
/// | header | authenticated, the AMQP header is awaited | opening |
/// | opening | the peer's open is awaited | open |
/// | open | sessions may be begun | closeSent, closed |
/// | closeSent | we closed, only the peer's close counts | closed |
/// | closed | nothing is read any more | |
public final class ConnectionEngine {
    /// Which end of the connection this is.
    public enum Role: Equatable, Sendable {
        /// Offers mechanisms, in this order; the plain AMQP header is taken as well.
        case server(mechanisms: [String])
        /// Authenticates by the given choice, or goes without the SASL layer.
        case client(SASLInit?)
    }

    enum State {
        case start, sasl, deciding, header, opening, open, closeSent, closed
    }

    /// What is about to be sent; a driver that writes payloads into it does so between begin and end of a transfer.
    public internal(set) var output = ByteBuffer()
    /// The bounds that are kept.
    public let limits: AMQPLimits
    /// The peer's open, once it came.
    public internal(set) var remoteOpen: Open?
    /// How many frames were received, heartbeats included.
    public internal(set) var framesReceived: UInt64 = 0
    /// How many bytes were received.
    public internal(set) var bytesReceived: UInt64 = 0

    let role: Role
    var localOpen: Open
    var state = State.start
    var isOpenSent = false
    var input = ByteBuffer()
    var events: [ConnectionEvent] = []
    var eventIndex = 0
    var lastReceived: Int64
    var lastSent: Int64
    var isReadingPaused = false
    var peerFrameBytesMax: UInt32 = 512
    var sessionsByRemoteChannel: [UInt16: Session] = [:]
    var sessionsByLocalChannel: [UInt16: Session] = [:]
    var endedChannels: Set<UInt16> = []
    var sessionsToSettle: [Session] = []
    var linkCount = 0
    var incompleteBytes = 0
    var unfinishedBytes = 0
    var outputCapacityHint = 512
    var transferStart = 0
    var transferMoreIndex = 0
    var transferPayloadStart = 0

    /// An engine at the start of its connection; a client's first bytes are in the output at once.
    ///
    /// - Parameters:
    ///   - role: Which end this is.
    ///   - containerID: The name of our container.
    ///   - hostname: What our open says as hostname: for a client, the host that it wants to reach.
    ///   - properties: What our open says about us.
    ///   - limits: The bounds that are kept and announced.
    ///   - now: The time in milliseconds.
    public init(
        role: Role,
        containerID: String,
        hostname: String? = nil,
        properties: AMQPMap? = nil,
        limits: AMQPLimits = AMQPLimits(),
        now: Int64
    ) {
        self.role = role
        self.limits = limits
        localOpen = Open(containerID: containerID)
        localOpen.hostname = hostname
        localOpen.maxFrameSize = limits.frameBytesMax
        localOpen.channelMax = limits.channelMax
        localOpen.idleTimeout = limits.idleTimeoutMilliseconds
        localOpen.properties = properties
        lastReceived = now
        lastSent = now
        guard case .client(let start) = role else { return }
        if start == nil {
            ProtocolHeader.amqp.write(to: &output)
            writeOpen()
        } else {
            ProtocolHeader.sasl.write(to: &output)
        }
    }

    deinit {
        // A session and its links hold each other.
        for session in sessionsByLocalChannel.values {
            session.linksByLocalHandle.removeAll()
            session.linksByRemoteHandle.removeAll()
            session.namedLinks.removeAll()
            session.unansweredLinks.removeAll()
            session.unsettledOutgoing.removeAll()
            session.unfinished.removeAll()
        }
    }

    /// Whether the connection is open on both sides.
    public var isOpen: Bool { state == .open }

    /// Whether nothing is read any more, so that the driver may close when the output is sent.
    public var isClosed: Bool { state == .closed || state == .closeSent }

    /// All sessions that are not gone.
    public var sessions: [Session] { Array(sessionsByLocalChannel.values) }

    /// Whether something is to be sent.
    public var hasOutput: Bool { output.readableBytes > 0 || !sessionsToSettle.isEmpty }

    /// Takes bytes from the peer; call ``nextEvent()`` until it returns nil afterwards.
    public func receive(_ bytes: ByteBuffer, now: Int64) {
        lastReceived = now
        bytesReceived += UInt64(bytes.readableBytes)
        if input.readableBytes == 0 {
            input = bytes
        } else {
            input.writeImmutableBuffer(bytes)
        }
    }

    /// Hands over what is to be sent.
    public func takeOutput(now: Int64) -> ByteBuffer {
        for session in sessionsToSettle {
            session.isToBeSettled = false
            writePendingSettlement(session)
        }
        sessionsToSettle.removeAll(keepingCapacity: true)
        let bytes = output
        output = ByteBuffer()
        outputCapacityHint = min(max(bytes.readableBytes, 512), 65_536)
        if bytes.readableBytes > 0 { lastSent = now }
        return bytes
    }

    /// What happened next; nil when more bytes are needed.
    public func nextEvent() -> ConnectionEvent? {
        while true {
            if eventIndex < events.count {
                defer { eventIndex += 1 }
                return events[eventIndex]
            }
            if !events.isEmpty {
                events.removeAll(keepingCapacity: true)
                eventIndex = 0
            }
            guard advance() else { return nil }
        }
    }

    /// Takes one step; false when more bytes or a decision are needed.
    private func advance() -> Bool {
        switch state {
        case .deciding: return false
        case .closed:
            input.clear()
            return false
        case .start, .header: return readHeader()
        case .sasl, .opening, .open, .closeSent: return readFrame()
        }
    }

    private func readHeader() -> Bool {
        guard input.readableBytes > 0 else { return false }
        switch ProtocolHeader.read(from: &input) {
        case .incomplete: return false
        case .unknown:
            // AMQP 2.2: an unknown header is answered with the one that is spoken here, and the end.
            ProtocolHeader.amqp.write(to: &output)
            state = .closed
            events.append(.failed(AMQPError(.framingError, "The protocol header is not known here.")))
            return true
        case .header(let header): return headerReceived(header)
        }
    }

    private func headerReceived(_ header: ProtocolHeader) -> Bool {
        switch (role, state, header) {
        case (.server(let mechanisms), .start, .sasl):
            ProtocolHeader.sasl.write(to: &output)
            Frame.write(to: &output, kind: .sasl) { SASLFrame.mechanisms(mechanisms).encode(into: &$0) }
            state = .sasl
        case (.server, _, .amqp):
            ProtocolHeader.amqp.write(to: &output)
            state = .opening
        case (.client(.some), .start, .sasl): state = .sasl
        case (.client(.none), .start, .amqp), (.client, .header, .amqp): state = .opening
        default:
            ProtocolHeader.amqp.write(to: &output)
            state = .closed
            events.append(.failed(AMQPError(.framingError, "The protocol header is not allowed here.")))
        }
        return true
    }

    private func readFrame() -> Bool {
        let bytesMax = state == .sasl || state == .opening ? limits.frameBytesBeforeOpenMax : limits.frameBytesMax
        let frame: Frame
        do throws(Frame.Failure) {
            guard let next = try Frame.read(from: &input, bytesMax: bytesMax) else { return false }
            frame = next
        } catch {
            failFraming(error)
            return true
        }
        framesReceived += 1
        guard frame.kind == (state == .sasl ? .sasl : .amqp) else {
            fail(AMQPError(.framingError, "The frame does not belong to this layer."))
            return true
        }
        if state == .sasl {
            saslReceived(frame)
            return true
        }
        // A frame without body keeps the connection alive and says nothing else (AMQP 2.4.5).
        guard frame.body.readableBytes > 0 else { return true }
        var payload = frame.body
        do throws(AMQPDecodeError) {
            let performative = try Performative(body: &payload, limits: limits)
            let wasFull = isOutgoingFull
            received(performative, channel: frame.channel, payload: payload)
            guard wasFull, !isOutgoingFull else { return true }
            for session in sessionsByLocalChannel.values { events.append(.flow(session, nil, windowOpened: true)) }
        } catch {
            fail(error.asError)
        }
        return true
    }

    private func failFraming(_ failure: Frame.Failure) {
        switch failure {
        case .malformed: fail(AMQPError(.framingError, "The header of a frame contradicts itself."))
        case .tooLarge(let size):
            fail(AMQPError(.framingError, "A frame of \(size) bytes is larger than what is accepted here."))
        case .unknownType(let type): fail(AMQPError(.framingError, "Frames of type \(type) are not known here."))
        }
    }

    private func received(_ performative: Performative, channel: UInt16, payload: ByteBuffer) {
        if case .close(let close) = performative {
            closeReceived(close)
            return
        }
        guard state != .closeSent else { return }
        if state == .opening {
            guard case .open(let open) = performative else {
                fail(AMQPError(.illegalState, "The connection must be opened first."))
                return
            }
            openReceived(open)
            return
        }
        switch performative {
        case .open: fail(AMQPError(.illegalState, "The connection is open already."))
        case .close: break
        case .begin(let begin): beginReceived(begin, channel: channel)
        default:
            guard let session = sessionsByRemoteChannel[channel] else {
                // pyamqp detaches on a channel after its own end; that must not break the connection.
                if endedChannels.contains(channel) { return }
                fail(AMQPError(.illegalState, "There is no session on channel \(channel)."))
                return
            }
            received(performative, session: session, payload: payload)
        }
    }

    private func received(_ performative: Performative, session: Session, payload: ByteBuffer) {
        if case .end(let end) = performative {
            endReceived(end, session: session)
            return
        }
        guard session.state == .active else { return }
        switch performative {
        case .attach(let attach): attachReceived(attach, session: session)
        case .flow(let flow): flowReceived(flow, session: session)
        case .transfer(let transfer): transferReceived(transfer, payload: payload, session: session)
        case .disposition(let disposition): dispositionReceived(disposition, session: session)
        case .detach(let detach): detachReceived(detach, session: session)
        case .open, .begin, .end, .close: break
        }
    }
}

@available(*, unavailable)
extension ConnectionEngine: Sendable {}
