// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import NIOCore

/// Settled messages sent one after another on one link, with all that they need held at hand.
///
/// Begun and ended by the engine; in between nothing else of the engine may be called. Each message must fit one frame;
/// others are for ``ConnectionEngine/send(on:settled:tag:messageFormat:payload:)``. Nothing is allocated for a message.
public struct TransferRun {
    /// Bytes before the payload of a transfer frame at most.
    static let headerBytesMax = 48

    /// How many messages were sent.
    public private(set) var count: UInt32 = 0
    var buffer: ByteBuffer
    let channel: UInt16
    let handle: UInt32
    let frameBytesMax: Int
    let countMax: UInt32
    let firstDeliveryID: UInt32
    let firstTag: UInt32

    /// Whether credit and window allow another message.
    public var canSend: Bool { count < countMax }

    /// How many bytes wait to be sent.
    public var byteCount: Int { buffer.readableBytes }

    /// Whether a payload of so many bytes fits one frame.
    public func fits(payloadBytes: Int) -> Bool { payloadBytes + Self.headerBytesMax <= frameBytesMax }

    /// Sends one message; only while ``canSend``.
    ///
    /// - Parameters:
    ///   - payloadBytes: How many bytes the payload has; more than none, and such that they fit.
    ///   - write: Writes exactly so many bytes and returns the place behind them.
    @inline(__always)
    public mutating func send(payloadBytes: Int, write: (UnsafeMutableRawPointer) -> UnsafeMutableRawPointer) {
        precondition(canSend && payloadBytes > 0 && fits(payloadBytes: payloadBytes), "the message may not be sent so")
        let (id, tag, channel, handle) = (firstDeliveryID &+ count, firstTag &+ count, channel, handle)
        count += 1
        buffer.writeWithUnsafeMutableBytes(minimumWritableBytes: Self.headerBytesMax + payloadBytes) { room in
            guard let start = room.baseAddress else { return 0 }
            var writer = AMQPRawWriter(start + 4)
            // doff 2, type 0
            writer.integer(UInt16(0x0200))
            writer.integer(channel)
            writer.descriptor(Descriptor.transfer)
            writer.integer(TypeCode.list8)
            let size = writer.next
            writer.integer(UInt16(11))
            writer.uint(handle)
            writer.uint(id)
            writer.integer(UInt16(TypeCode.binary8) << 8 | 4)
            writer.integer(tag)
            // message-format 0, settled, no more, and the rest null but for batchable
            writer.integer(UInt64(0x4341_4240_4040_4042))
            size.storeBytes(of: UInt8(writer.next - size - 1), as: UInt8.self)
            let payload = writer.next
            let end = write(payload)
            precondition(end - payload == payloadBytes, "the payload is not as long as promised")
            let frameBytes = end - start
            start.storeBytes(of: UInt32(frameBytes).bigEndian, as: UInt32.self)
            return frameBytes
        }
    }
}

extension ConnectionEngine {
    /// Begins a run of messages on `link`; only when ``canSend(on:)``.
    ///
    /// The run is to be given back by ``endRun(_:on:)``.
    public func beginRun(on link: Link) -> TransferRun {
        precondition(canSend(on: link), "a message may not be sent on this link now")
        writePendingSettlement(link.session)
        if output.capacity == 0 { output.reserveCapacity(outputCapacityHint) }
        let run = TransferRun(
            buffer: output,
            channel: link.session.channel,
            handle: link.handle,
            frameBytesMax: Int(peerFrameBytesMax),
            countMax: min(link.credit, link.session.remoteIncomingWindow),
            firstDeliveryID: link.session.nextDeliveryID,
            firstTag: link.nextTag &+ 1
        )
        // The run's buffer must be the only one, or its first write would copy it.
        output = ByteBuffer()
        return run
    }

    /// Takes back a run.
    public func endRun(_ run: consuming TransferRun, on link: Link) {
        output = run.buffer
        link.credit -= run.count
        link.deliveryCount &+= run.count
        link.nextTag &+= run.count
        link.session.nextDeliveryID &+= run.count
        link.session.nextOutgoingID &+= run.count
        link.session.remoteIncomingWindow -= run.count
    }
}
