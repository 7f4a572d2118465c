// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import MQTT
import NIOCore
import NIOSSL

/// What a device does with what happens on its connection; all of it on the connection's loop.
protocol DeviceUser: AnyObject {
    /// The hub let the device in.
    func signedIn(_ connection: DeviceConnection)
    /// The hub sent a message; what wants to be acknowledged is, by ``DeviceConnection/acknowledge(_:)``.
    func received(_ publish: Publish, _ connection: DeviceConnection)
    /// The connection is over, or was never made; nothing else is called after that.
    func ended(_ error: HubClientError)
}

/// The device's end of one MQTT connection: signs in, publishes within a window, subscribes, pings.
///
/// | state      | event                | next     | what happens |
/// |------------|----------------------|----------|--------------|
/// | connecting | active               | signing  | CONNECT |
/// | signing    | CONNACK 0            | ready    | the sign-in succeeds |
/// | signing    | CONNACK not 0        | ended    | the sign-in fails |
/// | ready      | a message            | ready    | PUBLISH, or it waits for the window |
/// | ready      | PUBACK               | ready    | its message succeeds, the next goes out |
/// | ready      | SUBACK               | ready    | its subscription succeeds or fails |
/// | ready      | PUBLISH              | ready    | handed to the user |
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
        let acknowledged: EventLoopPromise<Void>?
    }

    private enum State {
        case connecting
        case signing
        case ready
        case ended(HubClientError)
    }

    private let connectPacket: ByteBuffer
    private let deviceID: String
    private let signedIn: EventLoopPromise<Void>?
    private let address: HubAddress
    private let limits: DeviceClient.Limits
    private let user: (any DeviceUser)?
    private var state = State.connecting
    private var received = ByteBuffer()
    private var window: PublishWindow<Outgoing>
    private var timer: Scheduled<Void>?
    private var pinging: RepeatedTask?
    private var isAwaitingPing = false
    private var subscriptions: [UInt16: EventLoopPromise<Void>] = [:]
    private var context: ChannelHandlerContext?
    /// Whether what is written waits for the end of the reading, so that it leaves in one go.
    private var isReading = false

    init(
        connectPacket: ByteBuffer,
        deviceID: String,
        address: HubAddress,
        limits: DeviceClient.Limits,
        signedIn: EventLoopPromise<Void>? = nil,
        user: (any DeviceUser)? = nil
    ) {
        self.connectPacket = connectPacket
        self.deviceID = deviceID
        self.address = address
        self.limits = limits
        self.signedIn = signedIn
        self.user = user
        self.window = PublishWindow(size: limits.window)
    }

    func handlerAdded(context: ChannelHandlerContext) {
        self.context = context
        if context.channel.isActive {
            self.signIn(context)
        }
    }

    func handlerRemoved(context: ChannelHandlerContext) {
        self.context = nil
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
        self.isReading = true
        if self.received.readableBytes == 0 {
            self.received = bytes
        } else {
            self.received.writeBuffer(&bytes)
        }
        do throws(MQTTError) {
            while let packet = try Packet.decode(from: &self.received, limits: MQTTLimits()) {
                self.packetReceived(packet, context)
            }
        } catch {
            self.end(.protocolViolation("\(error)"), context)
        }
        if self.received.readableBytes == 0 {
            self.received = ByteBuffer()
        }
    }

    func channelReadComplete(context: ChannelHandlerContext) {
        self.isReading = false
        context.flush()
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
            self.signedIn?.succeed()
            self.user?.signedIn(self)
        case (.ready, .puback(let ack)):
            guard let outgoing = self.window.acknowledge(ack.packetID) else {
                self.end(.protocolViolation("a PUBACK for a message that was not sent"), context)
                return
            }
            outgoing.acknowledged?.succeed()
            self.publish(context)
        case (.ready, .suback(let answer)):
            guard self.window.release(answer.packetID),
                let granted = self.subscriptions.removeValue(forKey: answer.packetID)
            else {
                self.end(.protocolViolation("a SUBACK for what was not asked"), context)
                return
            }
            if answer.returnCodes.contains(Suback.failure) {
                granted.fail(HubClientError.subscriptionRefused(deviceID: self.deviceID))
            } else {
                granted.succeed()
            }
        case (.ready, .publish(let publish)) where self.user != nil:
            self.user?.received(publish, self)
        case (.ready, .pingresp):
            self.isAwaitingPing = false
        case (.ended, _):
            break
        default:
            self.end(.protocolViolation("a packet of type \(packet.type) out of turn"), context)
        }
    }

    /// Publishes a message; on the loop.
    func publish(_ outgoing: Outgoing) {
        guard let context else {
            outgoing.acknowledged?.fail(HubClientError.closed(during: self.phase))
            return
        }
        self.publish(outgoing, context)
    }

    /// Asks for messages; on the loop.
    ///
    /// - Parameters:
    ///   - requests: topic filters and the QoS wanted for each.
    ///   - eventLoop: the connection's loop.
    /// - Returns: succeeds when the hub granted all of them.
    func subscribe(_ requests: [Subscribe.Request], on eventLoop: any EventLoop) -> EventLoopFuture<Void> {
        let granted = eventLoop.makePromise(of: Void.self)
        guard case .ready = self.state, let context else {
            granted.fail(HubClientError.closed(during: self.phase))
            return granted.futureResult
        }
        let id = self.window.reserve()
        var packet = ByteBuffer()
        do {
            try Subscribe(packetID: id, requests: requests).encode(into: &packet)
        } catch {
            granted.fail(HubClientError.protocolViolation("a topic filter is too long"))
            return granted.futureResult
        }
        self.subscriptions[id] = granted
        self.send(packet, promise: nil, context)
        return granted.futureResult
    }

    /// Tells the hub that a message is taken: a command is completed by that.
    func acknowledge(_ publish: Publish) {
        guard publish.qos == .atLeastOnce, let context else { return }
        var packet = ByteBuffer()
        Puback(packetID: publish.packetID).encode(into: &packet)
        self.send(packet, promise: nil, context)
    }

    /// Signs off and closes.
    func close() {
        self.context?.channel.close(promise: nil)
    }

    func write(context: ChannelHandlerContext, data: NIOAny, promise: EventLoopPromise<Void>?) {
        let outgoing = self.unwrapOutboundIn(data)
        promise?.succeed()
        self.publish(outgoing, context)
    }

    private func publish(_ outgoing: Outgoing, _ context: ChannelHandlerContext) {
        switch self.state {
        case .ready:
            if outgoing.qos == .atMostOnce {
                self.write(outgoing, id: 0, promise: outgoing.acknowledged, context)
                return
            }
            self.window.add(outgoing)
            self.publish(context)
        case .ended(let error):
            outgoing.acknowledged?.fail(error)
        case .connecting, .signing:
            outgoing.acknowledged?.fail(HubClientError.closed(during: "the sign-in"))
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
            outgoing.acknowledged?.fail(HubClientError.protocolViolation("the properties are too long for a topic"))
            return
        }
        self.send(packet, promise: promise, context)
    }

    private func send(_ packet: ByteBuffer, promise: EventLoopPromise<Void>?, _ context: ChannelHandlerContext) {
        if self.isReading {
            context.write(self.wrapOutboundOut(packet), promise: promise)
        } else {
            context.writeAndFlush(self.wrapOutboundOut(packet), promise: promise)
        }
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
        case .ready, .ended: self.user == nil ? "the sending of telemetry" : "its use by '\(self.deviceID)'"
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
        self.signedIn?.fail(error)
        for outgoing in self.window.removeAll() {
            outgoing.acknowledged?.fail(error)
        }
        for granted in self.subscriptions.values {
            granted.fail(error)
        }
        self.subscriptions.removeAll()
        self.user?.ended(error)
    }
}

@available(*, unavailable)
extension DeviceConnection: Sendable {}
