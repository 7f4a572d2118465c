// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import MQTT
import NIOCore
import NIOSSL

/// The device's end of one MQTT connection: signs in, publishes within a window, pings.
///
/// | state      | event                | next     | what happens |
/// |------------|----------------------|----------|--------------|
/// | connecting | active               | signing  | CONNECT |
/// | signing    | CONNACK 0            | ready    | the sign-in succeeds |
/// | signing    | CONNACK not 0        | ended    | the sign-in fails |
/// | ready      | a message            | ready    | PUBLISH, or it waits for the window |
/// | ready      | PUBACK               | ready    | its message succeeds, the next goes out |
/// | any        | error, inactive      | ended    | everyone who waits is told |
final class DeviceConnection: ChannelDuplexHandler {
    typealias InboundIn = ByteBuffer
    typealias OutboundIn = Outgoing
    typealias OutboundOut = ByteBuffer

    /// A message on its way; `acknowledged` succeeds with the PUBACK, or with the write at QoS 0.
    struct Outgoing: Sendable {
        let topic: ByteBuffer
        let payload: ByteBuffer
        let qos: QoS
        let acknowledged: EventLoopPromise<Void>
    }

    private enum State {
        case connecting
        case signing
        case ready
        case ended(HubClientError)
    }

    private let connectPacket: ByteBuffer
    private let deviceID: String
    private let signedIn: EventLoopPromise<Void>
    private let address: HubAddress
    private let limits: DeviceClient.Limits
    private var state = State.connecting
    private var received = ByteBuffer()
    private var window: PublishWindow<Outgoing>
    private var timer: Scheduled<Void>?
    private var pinging: RepeatedTask?
    private var isAwaitingPing = false

    init(
        connectPacket: ByteBuffer,
        deviceID: String,
        address: HubAddress,
        limits: DeviceClient.Limits,
        signedIn: EventLoopPromise<Void>
    ) {
        self.connectPacket = connectPacket
        self.deviceID = deviceID
        self.address = address
        self.limits = limits
        self.signedIn = signedIn
        self.window = PublishWindow(size: limits.window)
    }

    func handlerAdded(context: ChannelHandlerContext) {
        if context.channel.isActive {
            self.signIn(context)
        }
    }

    func channelActive(context: ChannelHandlerContext) {
        self.signIn(context)
    }

    private func signIn(_ context: ChannelHandlerContext) {
        guard case .connecting = self.state else { return }
        self.state = .signing
        context.writeAndFlush(self.wrapOutboundOut(self.connectPacket), promise: nil)
        let loopBound = NIOLoopBound((self, context), eventLoop: context.eventLoop)
        self.timer = context.eventLoop.scheduleTask(in: .init(self.limits.signIn)) {
            let (connection, context) = loopBound.value
            connection.end(.timedOut(waitingFor: "the answer to CONNECT"), context)
        }
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        var bytes = self.unwrapInboundIn(data)
        self.received.writeBuffer(&bytes)
        do throws(MQTTError) {
            while let packet = try Packet.decode(from: &self.received, limits: MQTTLimits()) {
                self.packetReceived(packet, context)
            }
        } catch {
            self.end(.protocolViolation("\(error)"), context)
        }
        self.received.discardReadBytes()
    }

    private func packetReceived(_ packet: Packet, _ context: ChannelHandlerContext) {
        switch (self.state, packet) {
        case (.signing, .connack(let answer)):
            self.timer?.cancel()
            guard answer.returnCode == .accepted else {
                self.end(.signInRefused(deviceID: self.deviceID, code: answer.returnCode.rawValue), context)
                return
            }
            self.state = .ready
            self.startPinging(context)
            self.signedIn.succeed()
        case (.ready, .puback(let ack)):
            guard let outgoing = self.window.acknowledge(ack.packetID) else {
                self.end(.protocolViolation("a PUBACK for a message that was not sent"), context)
                return
            }
            outgoing.acknowledged.succeed()
            self.publish(context)
        case (.ready, .pingresp):
            self.isAwaitingPing = false
        case (.ended, _):
            break
        default:
            self.end(.protocolViolation("a packet of type \(packet.type) out of turn"), context)
        }
    }

    func write(context: ChannelHandlerContext, data: NIOAny, promise: EventLoopPromise<Void>?) {
        let outgoing = self.unwrapOutboundIn(data)
        promise?.succeed()
        switch self.state {
        case .ready:
            if outgoing.qos == .atMostOnce {
                self.write(outgoing, id: 0, promise: outgoing.acknowledged, context)
                return
            }
            self.window.add(outgoing)
            self.publish(context)
        case .ended(let error):
            outgoing.acknowledged.fail(error)
        case .connecting, .signing:
            outgoing.acknowledged.fail(HubClientError.closed(during: "the sign-in"))
        }
    }

    private func publish(_ context: ChannelHandlerContext) {
        while let (id, outgoing) = self.window.next() {
            self.write(outgoing, id: id, promise: nil, context)
        }
    }

    private func write(
        _ outgoing: Outgoing,
        id: UInt16,
        promise: EventLoopPromise<Void>?,
        _ context: ChannelHandlerContext
    ) {
        var packet = ByteBuffer()
        do {
            try Publish(topic: outgoing.topic, payload: outgoing.payload, qos: outgoing.qos, packetID: id)
                .encode(into: &packet)
        } catch {
            _ = self.window.acknowledge(id)
            outgoing.acknowledged.fail(HubClientError.protocolViolation("the properties are too long for a topic"))
            return
        }
        context.writeAndFlush(self.wrapOutboundOut(packet), promise: promise)
    }

    private func startPinging(_ context: ChannelHandlerContext) {
        let interval = TimeAmount.seconds(Int64(self.limits.keepAliveSeconds) / 2)
        let loopBound = NIOLoopBound((self, context), eventLoop: context.eventLoop)
        self.pinging = context.eventLoop.scheduleRepeatedTask(initialDelay: interval, delay: interval) { _ in
            let (connection, context) = loopBound.value
            connection.ping(context)
        }
    }

    private func ping(_ context: ChannelHandlerContext) {
        guard case .ready = self.state else { return }
        guard !self.isAwaitingPing else {
            self.end(.timedOut(waitingFor: "the answer to a ping"), context)
            return
        }
        self.isAwaitingPing = true
        var packet = ByteBuffer()
        Pingreq.encode(into: &packet)
        context.writeAndFlush(self.wrapOutboundOut(packet), promise: nil)
    }

    func close(context: ChannelHandlerContext, mode: CloseMode, promise: EventLoopPromise<Void>?) {
        if case .ready = self.state {
            // DISCONNECT first: without it the hub takes the device for lost and sends its will. [MQTT-3.14.4-3]
            var packet = ByteBuffer()
            Disconnect.encode(into: &packet)
            context.writeAndFlush(self.wrapOutboundOut(packet), promise: nil)
            self.finish(.closed(during: "its own closing"))
        }
        context.close(mode: mode, promise: promise)
    }

    func channelInactive(context: ChannelHandlerContext) {
        self.finish(.closed(during: self.phase))
        context.fireChannelInactive()
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        // A peer that closes without the closing alert of TLS has closed all the same.
        if case .uncleanShutdown? = error as? NIOSSLError { return }
        self.end(.connecting(error, host: self.address.dialHost, port: self.address.mqttPort), context)
    }

    private var phase: String {
        switch self.state {
        case .connecting, .signing: "the sign-in of device '\(self.deviceID)'"
        case .ready, .ended: "the sending of telemetry"
        }
    }

    private func end(_ error: HubClientError, _ context: ChannelHandlerContext) {
        self.finish(error)
        context.close(promise: nil)
    }

    private func finish(_ error: HubClientError) {
        if case .ended = self.state { return }
        self.state = .ended(error)
        self.timer?.cancel()
        self.pinging?.cancel()
        self.signedIn.fail(error)
        for outgoing in self.window.removeAll() {
            outgoing.acknowledged.fail(error)
        }
    }
}

@available(*, unavailable)
extension DeviceConnection: Sendable {}
