// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import NIOCore
import NIOSSL

/// One device of a load generator: raw packets both ways, no decoding of what is not a PUBACK.
final class LoadConnection: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    private enum State {
        case signing
        case ready
        case ended
    }

    private let lane: LoadLane
    private let deviceID: String
    private let connectPacket: ByteBuffer
    private var template: LoadTemplate
    private let window: Int
    private let isAcknowledged: Bool
    private var state = State.signing
    private var partial = ByteBuffer()
    private var lastID: UInt16 = 0
    private var inFlight = 0
    /// When the packets in flight were written, by packet id modulo a power of two that is at least the window.
    private var sentAt: [UInt64]
    private let sentMask: Int
    private var context: ChannelHandlerContext?

    init(lane: LoadLane, deviceID: String, connectPacket: ByteBuffer, template: LoadTemplate, isAcknowledged: Bool) {
        self.lane = lane
        self.deviceID = deviceID
        self.connectPacket = connectPacket
        self.template = template
        self.window = template.capacity
        self.isAcknowledged = isAcknowledged
        var slots = 2
        while slots < template.capacity * 2 {
            slots *= 2
        }
        self.sentAt = Array(repeating: 0, count: slots)
        self.sentMask = slots - 1
    }

    func handlerAdded(context: ChannelHandlerContext) {
        self.context = context
    }

    func handlerRemoved(context: ChannelHandlerContext) {
        self.context = nil
    }

    func channelActive(context: ChannelHandlerContext) {
        context.writeAndFlush(self.wrapOutboundOut(self.connectPacket), promise: nil)
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        var bytes = self.unwrapInboundIn(data)
        if self.partial.readableBytes > 0 {
            self.partial.writeBuffer(&bytes)
            bytes = self.partial
            self.partial = ByteBuffer()
        }
        let now = NIODeadline.now().uptimeNanoseconds
        if self.state == .ready {
            bytes.moveReaderIndex(forwardBy: self.acknowledgementsReceived(bytes, now))
        }
        while self.state != .ended, let header = bytes.getInteger(at: bytes.readerIndex, as: UInt16.self) {
            let length = Int(header & 0xFF)
            guard length < 0x80 else { return self.fail(.protocolViolation("a long packet to a device"), context) }
            guard bytes.readableBytes >= 2 + length else { break }
            let value = bytes.getInteger(at: bytes.readerIndex + 2, as: UInt16.self) ?? 0
            self.packetReceived(header, value, context)
            bytes.moveReaderIndex(forwardBy: 2 + length)
        }
        if bytes.readableBytes > 0 {
            self.partial = bytes
        }
    }

    func channelReadComplete(context: ChannelHandlerContext) {
        self.fill()
    }

    /// Counts the run of PUBACKs at the beginning of what came.
    ///
    /// - Returns: how many bytes they take.
    private func acknowledgementsReceived(_ bytes: ByteBuffer, _ now: UInt64) -> Int {
        let (sentAt, mask, inFlight) = (self.sentAt, self.sentMask, self.inFlight)
        let count = bytes.withUnsafeReadableBytes { packets in
            self.lane.acknowledged { figures, isMeasuring in
                var count = 0
                while count < inFlight, packets.count - count * 4 >= 4 {
                    let packet = packets.loadUnaligned(fromByteOffset: count * 4, as: UInt32.self).bigEndian
                    guard packet >> 16 == 0x4002 else { break }
                    if isMeasuring {
                        figures.latency.add(nanoseconds: now &- sentAt[Int(packet & 0xFFFF) & mask])
                    }
                    count += 1
                }
                figures.acknowledged += UInt64(count)
                return count
            }
        }
        self.inFlight -= count
        return count * 4
    }

    private func packetReceived(_ header: UInt16, _ value: UInt16, _ context: ChannelHandlerContext) {
        switch header {
        case 0x2002 where self.state == .signing:
            guard value & 0xFF == 0 else {
                self.fail(.signInRefused(deviceID: self.deviceID, code: UInt8(value & 0xFF)), context)
                return
            }
            self.state = .ready
            self.lane.signedIn(self)
        default:
            self.fail(.protocolViolation("a packet out of turn"), context)
        }
    }

    /// Writes as many messages as the window has room for, in one go.
    func fill() {
        guard self.lane.isFlooding, self.state == .ready, let context else { return }
        guard self.isAcknowledged else {
            self.flood(context)
            return
        }
        let room = self.window - self.inFlight
        if room > 0 {
            self.publish(room, context)
        }
    }

    /// Writes one message if the window has room.
    ///
    /// - Returns: whether it was written.
    func publishOne() -> Bool {
        guard self.state == .ready, let context, context.channel.isWritable else { return false }
        guard !self.isAcknowledged || self.inFlight < self.window else { return false }
        self.publish(1, context)
        return true
    }

    func channelWritabilityChanged(context: ChannelHandlerContext) {
        if context.channel.isWritable {
            self.fill()
        }
    }

    /// Writes a run without acknowledgements and comes back once the loop has seen to the others.
    private func flood(_ context: ChannelHandlerContext) {
        guard context.channel.isWritable else { return }
        self.publish(self.window, context)
        guard context.channel.isWritable else { return }
        context.eventLoop.assumeIsolated().execute { self.fill() }
    }

    private func publish(_ count: Int, _ context: ChannelHandlerContext) {
        let now = NIODeadline.now().uptimeNanoseconds
        let firstID = self.lastID == .max ? 1 : self.lastID + 1
        let bytes = self.template.run(count: count, firstID: firstID, nanoseconds: now)
        if self.isAcknowledged {
            var id = self.lastID
            for _ in 0..<count {
                id = id == .max ? 1 : id + 1
                self.sentAt[Int(id) & self.sentMask] = now
            }
            self.lastID = id
            self.inFlight += count
        }
        self.lane.sent(count)
        context.writeAndFlush(self.wrapOutboundOut(bytes), promise: nil)
    }

    func channelInactive(context: ChannelHandlerContext) {
        self.fail(.closed(during: self.state == .signing ? "the sign-in of '\(self.deviceID)'" : "the load"), context)
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        if case .uncleanShutdown? = error as? NIOSSLError { return }
        self.fail(self.lane.failure(error), context)
    }

    private func fail(_ error: HubClientError, _ context: ChannelHandlerContext) {
        guard self.state != .ended else { return }
        let wasSigning = self.state == .signing
        self.state = .ended
        self.lane.failed(error, duringSignIn: wasSigning)
        context.close(promise: nil)
    }

    /// Closes without its being a failure.
    func stop() {
        self.state = .ended
        self.context?.close(promise: nil)
    }
}

@available(*, unavailable)
extension LoadConnection: Sendable {}
