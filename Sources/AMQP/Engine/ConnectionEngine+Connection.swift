// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import NIOCore

// Authentication, open, close and time-outs (AMQP 2.4, 5.3).
extension ConnectionEngine {
    func saslReceived(_ frame: Frame) {
        let step: SASLFrame
        do throws(AMQPDecodeError) {
            step = try SASLFrame(body: frame.body, limits: limits)
        } catch {
            fail(error.asError)
            return
        }
        switch (role, step) {
        case (.server(let mechanisms), .initiate(let start)):
            guard mechanisms.contains(start.mechanism) else {
                writeSASL(.outcome(.auth, additionalData: nil))
                state = .closed
                events.append(.failed(AMQPError(.notImplemented, "The SASL mechanism is not offered here.")))
                return
            }
            state = .deciding
            events.append(.saslInit(start))
        case (.client(.some(let start)), .mechanisms(let mechanisms)):
            guard mechanisms.contains(start.mechanism) else {
                state = .closed
                events.append(.failed(AMQPError(.notImplemented, "The server does not offer \(start.mechanism).")))
                return
            }
            writeSASL(.initiate(start))
        case (.client, .outcome(let code, _)):
            events.append(.saslOutcome(code))
            guard code == .ok else {
                state = .closed
                return
            }
            state = .header
            ProtocolHeader.amqp.write(to: &output)
            writeOpen()
        default: fail(AMQPError(.illegalState, "The SASL frame is not allowed here."))
        }
    }

    private func writeSASL(_ frame: SASLFrame) {
        Frame.write(to: &output, kind: .sasl) { frame.encode(into: &$0) }
    }

    /// Answers the client's credentials; anything but ok ends the connection.
    public func finishSASL(_ code: SASLOutcomeCode) {
        // The client may have vanished while the decision was made.
        guard state == .deciding else { return }
        writeSASL(.outcome(code, additionalData: code == .ok ? ByteBuffer(string: "Welcome!") : nil))
        state = code == .ok ? .header : .closed
    }

    func writeOpen() {
        guard !isOpenSent else { return }
        isOpenSent = true
        let open = localOpen
        Frame.write(to: &output) { open.encode(into: &$0) }
    }

    func openReceived(_ open: Open) {
        let size = open.maxFrameSize ?? .max
        guard size >= 512 else {
            fail(AMQPError(.frameSizeTooSmall, "A max-frame-size below 512 bytes is not allowed."))
            return
        }
        remoteOpen = open
        // Frames of ours are never larger than what we accept ourselves, which bounds the buffers for them.
        peerFrameBytesMax = min(size, limits.frameBytesMax)
        writeOpen()
        state = .open
        events.append(.opened(open))
    }

    func closeReceived(_ close: Close) {
        if state != .closeSent {
            writeOpen()
            Frame.write(to: &output) { Close().encode(into: &$0) }
        }
        state = .closed
        events.append(.closed(close.error))
    }

    /// Closes the connection; only the peer's close counts from now on.
    public func close(_ error: AMQPError? = nil) {
        switch state {
        case .opening, .open:
            writeOpen()
            writeUnsettledRest()
            let error = fitting(error)
            Frame.write(to: &output) { Close(error: error).encode(into: &$0) }
            state = .closeSent
        case .start, .sasl, .deciding, .header: state = .closed
        case .closeSent, .closed: break
        }
    }

    private func writeUnsettledRest() {
        for session in sessionsToSettle { writePendingSettlement(session) }
        sessionsToSettle.removeAll()
    }

    /// Ends everything because the peer broke a rule of the connection.
    func fail(_ error: AMQPError) {
        switch state {
        case .opening, .open: close(error)
        default: break
        }
        state = .closed
        events.append(.failed(error))
    }

    /// Says that the peer is not read for now, so that its silence counts for nothing.
    ///
    /// Ours does count for the peer, whatever we wait for: heartbeats go on.
    public func readingPaused() { isReadingPaused = true }

    /// Says that the peer is read again; its silence counts from now on.
    public func readingResumed(now: Int64) {
        guard isReadingPaused else { return }
        isReadingPaused = false
        lastReceived = now
    }

    /// What passing time asks for.
    public enum TimePassed: Equatable, Sendable {
        /// Nothing, or a heartbeat that is in the output now.
        case nothing
        /// The peer was silent for twice the time that we announced; a close is in the output.
        case timedOut
    }

    /// Looks at the time: writes a heartbeat when one is due, and closes when the peer is gone.
    public func timePassed(now: Int64) -> TimePassed {
        guard !isClosed else { return .nothing }
        let ours = Int64(limits.idleTimeoutMilliseconds)
        if ours > 0, !isReadingPaused, now - lastReceived > ours * 2 {
            close(AMQPError(.connectionForced, "The connection was inactive for more than the allowed time."))
            return .timedOut
        }
        if state == .open, let interval = heartbeatMilliseconds, now - lastSent >= interval, output.readableBytes == 0 {
            Frame.write(to: &output) { _ in }
        }
        return .nothing
    }

    /// After how many milliseconds without sending a heartbeat is due; nil when the peer asks for none.
    ///
    /// Less than half of what the peer announced, so that a check that comes a little late is in time (AMQP 2.4.5).
    public var heartbeatMilliseconds: Int64? {
        guard let timeout = remoteOpen?.idleTimeout, timeout > 0 else { return nil }
        return Int64(max(timeout, limits.peerIdleTimeoutMillisecondsMin)) * 2 / 5
    }

    /// How often ``timePassed(now:)`` should be called, in milliseconds.
    public var timeCheckMilliseconds: Int64 {
        let ours = max(Int64(limits.idleTimeoutMilliseconds) / 2, 1)
        guard let heartbeat = heartbeatMilliseconds else { return ours }
        return max(min(ours, heartbeat / 4), 1)
    }
}
