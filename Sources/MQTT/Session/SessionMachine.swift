// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

/// The rules of one server-side connection.
///
/// Pure: time comes in as the time since any fixed start, what is to be done goes out as a value.
///
/// | state | event | to |
/// |---|---|---|
/// | awaitingConnect | CONNECT | authenticating |
/// | authenticating | `accept` | connected |
/// | authenticating | `refuse` | ended |
/// | connected | any legal packet | connected |
/// | connected | DISCONNECT, will discarded | ended |
/// | any | violation, time-out, `connectionLost` | ended |
///
/// What arrives while authentication runs stays undecoded: `mayDecode` is false then, so packets are handled after CONNACK in
/// the order of their arrival, and the bound is one on bytes. It is false, too, while as many acknowledgements are owed as
/// `acknowledgementsPendingMax` allows.
public struct SessionMachine {
    private enum State: Equatable {
        case awaitingConnect
        case authenticating
        case connected
        case ended
    }

    /// What to do about a CONNECT.
    public enum ConnectAction: Equatable, Sendable {
        /// Find out who it is, then call `accept` or `refuse`.
        case authenticate
        /// Close.
        case close(SessionEnd)
    }

    /// What to do about a packet that can't be decoded.
    public enum MalformedAction: Equatable, Sendable {
        /// Send CONNACK with this code, then close.
        case refuse(Connack.ReturnCode)
        /// Close.
        case close(SessionEnd)
    }

    /// What to do about a PUBLISH.
    public enum PublishAction: Equatable, Sendable {
        /// Take it; at QoS 1 its PUBACK is in the queue now.
        case take
        /// Close.
        case close(SessionEnd)
    }

    /// What to do about a SUBSCRIBE or UNSUBSCRIBE.
    public enum SubscriptionAction: Equatable, Sendable {
        /// Store the change, then complete the acknowledgement with this number.
        case store(acknowledgement: UInt64)
        /// Close.
        case close(SessionEnd)
    }

    /// What to do about a PUBACK.
    public enum PubackAction: Equatable, Sendable {
        /// The delivery with this token is done.
        case settle(token: UInt64)
        /// Nothing: ids that were never sent are ignored (docs/wire/mqtt.md 8.3).
        case ignore
        /// Close.
        case close(SessionEnd)
    }

    /// What to do about PINGREQ.
    public enum PingAction: Equatable, Sendable {
        /// Send PINGRESP at once.
        case sendPingresp
        /// Close.
        case close(SessionEnd)
    }

    /// What to do when the timer fires.
    public enum TimerAction: Equatable, Sendable {
        /// Set the timer to this time.
        case wake(at: Duration)
        /// Let the timer rest: the connection has ended.
        case rest
        /// Send CONNACK with this code, then close.
        case refuse(Connack.ReturnCode)
        /// Close.
        case close(SessionEnd)
    }

    private let limits: MQTTLimits
    private var state = State.awaitingConnect
    private var hasWill = false
    private var pausedSince: Duration?
    private var lastReceived: Duration
    /// Limit of silence once connected, of the handshake before.
    private var silenceMax: Duration
    private var expiresAt: Duration?
    private var window: OutgoingWindow

    /// The acknowledgements that are owed.
    public var acknowledgements = AcknowledgementQueue()
    /// The filters that are held.
    public private(set) var subscriptions = SubscriptionSet()

    /// The machine of a connection that was just accepted.
    public init(limits: MQTTLimits, now: Duration) {
        self.limits = limits
        lastReceived = now
        silenceMax = limits.connectTimeout
        window = OutgoingWindow(countMax: limits.outgoingWindowMax)
    }

    /// Whether the next packet may be decoded now.
    public var mayDecode: Bool {
        switch state {
        case .awaitingConnect: true
        case .connected: acknowledgements.count < limits.acknowledgementsPendingMax
        case .authenticating, .ended: false
        }
    }

    /// Whether CONNECT was accepted and nothing has ended the connection since.
    public var isConnected: Bool { state == .connected }

    /// Whether the connection is waiting for `accept` or `refuse`.
    public var isAuthenticating: Bool { state == .authenticating }

    /// Whether the connection has ended.
    public var hasEnded: Bool { state == .ended }

    /// The limit of the next packet's size.
    public var packetSizeMax: Int {
        state == .connected ? limits.packetSizeMax : min(limits.packetSizeMax, limits.packetSizeBeforeConnectMax)
    }

    // MARK: Connecting

    /// CONNECT came.
    public mutating func connectReceived() -> ConnectAction {
        guard state == .awaitingConnect else { return .close(end(.secondConnect)) }
        state = .authenticating
        return .authenticate
    }

    /// A packet came that can't be decoded; only a wrong protocol level in the first packet is answered. [MQTT-3.1.2-2]
    public mutating func malformedReceived(_ error: MQTTError) -> MalformedAction {
        if state == .awaitingConnect, error == .protocolLevelUnacceptable {
            return .refuse(refuse(.unacceptableProtocolVersion))
        }
        return .close(end(.malformed(error)))
    }

    /// The client is who it says: CONNACK 0 is to be sent now.
    ///
    /// - Parameters:
    ///   - connect: what it sent.
    ///   - stored: the filters of its stored session.
    ///   - expiresAt: when its credential ends, nil for never.
    ///   - now: starts the keep-alive.
    /// - Returns: false if the connection has ended meanwhile.
    public mutating func accept(
        _ connect: borrowing Connect,
        stored: SubscriptionSet,
        expiresAt: Duration?,
        now: Duration
    ) -> Bool {
        guard state == .authenticating else { return false }
        state = .connected
        hasWill = connect.will != nil
        subscriptions = stored
        self.expiresAt = expiresAt
        lastReceived = now
        // One and a half times the keep-alive [MQTT-3.1.2-24], capped; none asked for means the cap.
        let asked = Duration.milliseconds(1500 * Int64(connect.keepAliveSeconds))
        silenceMax = asked == .zero ? limits.silenceMax : min(asked, limits.silenceMax)
        return true
    }

    /// The client is refused: CONNACK with the code is to be sent, then the connection closed.
    @discardableResult
    public mutating func refuse(_ code: Connack.ReturnCode) -> Connack.ReturnCode {
        _ = end(.refused(code))
        return code
    }

    // MARK: Packets

    /// PUBLISH came.
    public mutating func publishReceived(qos: QoS, packetID: UInt16) -> PublishAction {
        guard state == .connected else { return .close(end(.packetBeforeConnect)) }
        switch qos {
        case .atMostOnce: break
        case .atLeastOnce: acknowledgements.appendPuback(packetID)  // [MQTT-3.3.4-1]
        case .exactlyOnce: return .close(end(.exactlyOnceUnsupported))
        }
        return .take
    }

    /// SUBSCRIBE came and all its filters are good.
    ///
    /// The filters are in force at once, so that nothing is missed between the store and the SUBACK.
    public mutating func subscribeReceived(_ packet: Subscribe) -> SubscriptionAction {
        guard state == .connected else { return .close(end(.packetBeforeConnect)) }
        var changed = subscriptions
        var codes: [UInt8] = []
        for request in packet.requests {
            // QoS 2 is granted as 1. (docs/wire/mqtt.md 5.2)
            let granted = min(request.qos, .atLeastOnce)
            changed.insert(request.filter, granted: granted)
            codes.append(granted.rawValue)
        }
        guard changed.held.count <= limits.subscriptionsMax else { return .close(end(.subscriptionsExceeded)) }
        subscriptions = changed
        return .store(acknowledgement: acknowledgements.appendSuback(packet.packetID, returnCodes: codes))
    }

    /// UNSUBSCRIBE came: it is always answered, whether the filters were held or not. [MQTT-3.10.4-5]
    public mutating func unsubscribeReceived(_ packet: Unsubscribe) -> SubscriptionAction {
        guard state == .connected else { return .close(end(.packetBeforeConnect)) }
        for filter in packet.filters { subscriptions.remove(filter) }
        return .store(acknowledgement: acknowledgements.appendUnsuback(packet.packetID))
    }

    /// PINGREQ came. [MQTT-3.12.4-1]
    public mutating func pingreqReceived() -> PingAction {
        guard state == .connected else { return .close(end(.packetBeforeConnect)) }
        return .sendPingresp
    }

    /// PUBACK came.
    public mutating func pubackReceived(packetID: UInt16) -> PubackAction {
        guard state == .connected else { return .close(end(.packetBeforeConnect)) }
        return window.acknowledge(packetID).map { .settle(token: $0) } ?? .ignore
    }

    /// DISCONNECT came: the will is discarded. [MQTT-3.14.4-3]
    public mutating func disconnectReceived() -> SessionEnd {
        guard state == .connected else { return end(.packetBeforeConnect) }
        hasWill = false
        return end(.disconnected)
    }

    /// A packet came that a client of this server never sends.
    public mutating func unexpectedReceived(_ type: PacketType) -> SessionEnd {
        end(state == .connected ? .unexpectedPacket(type) : .packetBeforeConnect)
    }

    /// A packet id for a QoS 1 PUBLISH of the server, nil while the window is full.
    public mutating func takePacketID(token: UInt64) -> UInt16? {
        state == .connected ? window.take(token: token) : nil
    }

    // MARK: Time

    /// Bytes came: the silence is over.
    public mutating func bytesReceived(now: Duration) {
        guard state == .connected else { return }
        lastReceived = now
    }

    /// The server stops reading: from now on silence is not the client's.
    public mutating func readingPaused(now: Duration) {
        pausedSince = pausedSince ?? now
    }

    /// The server reads again.
    public mutating func readingResumed(now: Duration) {
        guard let since = pausedSince else { return }
        pausedSince = nil
        if state == .connected { lastReceived += now - max(since, lastReceived) }
    }

    /// The timer fired, or is to be set for the first time.
    public mutating func timePassed(now: Duration) -> TimerAction {
        switch state {
        case .ended: return .rest
        case .awaitingConnect, .authenticating:
            let deadline = lastReceived + silenceMax
            guard now >= deadline else { return .wake(at: deadline) }
            // Slow authentication is the server's trouble: 3 makes SDKs try again, 5 would stop them.
            guard state == .authenticating else { return .close(end(.connectTimedOut)) }
            return .refuse(refuse(.serverUnavailable))
        case .connected:
            if let expiresAt, now >= expiresAt { return .close(end(.credentialExpired)) }
            let deadline = (pausedSince == nil ? lastReceived : now) + silenceMax
            guard now >= deadline else { return .wake(at: min(deadline, expiresAt ?? deadline)) }
            return .close(end(.keepAliveExpired))
        }
    }

    // MARK: End

    /// The connection is gone or is being closed from outside.
    public mutating func connectionLost() {
        state = .ended
    }

    /// Whether the will is to be published now; true at most once, after the end. [MQTT-3.1.2-8]
    public mutating func takeWill() -> Bool {
        guard state == .ended, hasWill else { return false }
        hasWill = false
        return true
    }

    private mutating func end(_ reason: SessionEnd) -> SessionEnd {
        state = .ended
        return reason
    }
}
