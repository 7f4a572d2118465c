// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import AMQP
import NIOCore
import NIOSSL

/// What happens on the links of a connection; all of it on the connection's loop.
protocol LinkUser: AnyObject {
    /// Every link is attached.
    func attached(_ connection: LinkConnection)
    /// A link got credit, or the session room, or bytes were read: there may be something to send.
    func maySend(_ connection: LinkConnection)
    /// The hub told what became of a message.
    func settled(_ id: UInt32, _ state: DeliveryState?, on link: Link)
    /// A message came; it must be settled, unless it is already.
    func received(_ delivery: IncomingDelivery, on link: Link, _ connection: LinkConnection)
    /// The connection is over; nothing else is called after that.
    func ended(_ error: HubClientError)
}

/// One AMQP connection of a client: signs in, attaches its links and hands over what happens on them.
///
/// | step        | what it waits for         | what it does then |
/// |-------------|---------------------------|-------------------|
/// | opening     | the session               | attaches to `$cbs` |
/// | authorizing | the answer to a token     | sends the next; after the last attaches the links |
/// | attaching   | the answer of each link   | says that they are attached |
/// | attached    | messages and settlements  | hands them over |
/// | ended       |                           | |
final class LinkConnection: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    private enum Step {
        case opening
        case authorizing(next: Int)
        case attaching(left: Int)
        case attached
        case ended
    }

    /// The rules of the connection; whoever sends outside of a call of its user calls ``flush()`` afterwards.
    let engine: ConnectionEngine
    /// The links in the order of the plan, once they are being attached.
    private(set) var links: [Link] = []
    /// The session of the links, once there is one.
    private(set) var session: Session?
    private let plan: LinkPlan
    private let user: any LinkUser
    private var step = Step.opening
    private var tokens: RequestLinks?
    private var timer: Scheduled<Void>?
    private var clock: RepeatedTask?
    private var context: ChannelHandlerContext?

    init(plan: LinkPlan, user: any LinkUser) {
        self.plan = plan
        self.user = user
        self.engine = ConnectionEngine(
            role: .client(SASLInit(mechanism: "ANONYMOUS", initialResponse: ByteBuffer())),
            containerID: "roost-client",
            hostname: plan.address.bareHostName,
            now: Self.now()
        )
    }

    private static func now() -> Int64 {
        Int64(NIODeadline.now().uptimeNanoseconds / 1_000_000)
    }

    func handlerAdded(context: ChannelHandlerContext) {
        self.context = context
    }

    func handlerRemoved(context: ChannelHandlerContext) {
        self.context = nil
    }

    func channelActive(context: ChannelHandlerContext) {
        let loopBound = NIOLoopBound((self, context), eventLoop: context.eventLoop)
        self.timer = context.eventLoop.scheduleTask(in: .init(self.plan.attach)) {
            let (connection, context) = loopBound.value
            connection.end(.timedOut(waitingFor: "the links to be attached"), context)
        }
        let interval = TimeAmount.milliseconds(self.engine.timeCheckMilliseconds)
        self.clock = context.eventLoop.scheduleRepeatedTask(initialDelay: interval, delay: interval) { _ in
            let (connection, context) = loopBound.value
            connection.timePassed(context)
        }
        self.flush()
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        self.engine.receive(self.unwrapInboundIn(data), now: Self.now())
        while let event = self.engine.nextEvent() {
            self.eventReceived(event, context)
        }
        if case .attached = self.step {
            self.user.maySend(self)
        }
        self.flush()
    }

    /// Writes what the engine has to send.
    func flush() {
        guard let context, self.engine.hasOutput else { return }
        let bytes = self.engine.takeOutput(now: Self.now())
        guard bytes.readableBytes > 0 else { return }
        context.writeAndFlush(self.wrapOutboundOut(bytes), promise: nil)
    }

    /// Whether the socket takes what is written.
    var isWritable: Bool { self.context?.channel.isWritable ?? false }

    func channelWritabilityChanged(context: ChannelHandlerContext) {
        guard context.channel.isWritable, case .attached = self.step else { return }
        self.user.maySend(self)
        self.flush()
    }

    /// Says that a message is dealt with.
    func settle(_ delivery: IncomingDelivery, _ state: DeliveryState) {
        guard !delivery.isSettled, let session else { return }
        self.engine.settle(delivery.id, on: session, state)
    }

    private func timePassed(_ context: ChannelHandlerContext) {
        let outcome = self.engine.timePassed(now: Self.now())
        self.flush()
        if outcome == .timedOut {
            self.end(.timedOut(waitingFor: "a sign of life"), context)
        }
    }

    private func eventReceived(_ event: ConnectionEvent, _ context: ChannelHandlerContext) {
        switch event {
        case .delivery(let link, let delivery):
            self.deliveryReceived(delivery, link, context)
        case .disposition(let link, let id, let state, _):
            if link.tag >= 0 {
                self.user.settled(id, state, on: link)
            }
        case .saslOutcome(let code):
            if code != .ok {
                self.end(.amqpRefused(condition: "SASL outcome \(code)", description: ""), context)
            }
        case .opened:
            self.session = self.engine.begin()
        case .begun(let session):
            self.step = .authorizing(next: 0)
            self.tokens = RequestLinks(node: "$cbs", engine: self.engine, session: session)
        case .attached(let link):
            self.linkAttached(link)
        case .flow:
            self.sendToken()
        case .detached(let link, let error):
            let node = link.tag >= 0 ? self.plan.links[link.tag].node : "$cbs"
            self.end(.init(error, lost: "the link to \(node)"), context)
        case .ended(_, _, let error):
            self.end(.init(error, lost: "the session"), context)
        case .closed(let error):
            self.end(.init(error, lost: "the connection"), context)
        case .failed(let error):
            self.flush()
            self.end(.protocolViolation(error.description ?? error.condition.rawValue), context)
        case .saslInit:
            break
        }
    }

    private func linkAttached(_ link: Link) {
        // A refusal is answered by an attach without terminus; its reason comes with the detach.
        guard link.state == .attached else { return }
        guard case .attaching(let left) = self.step, link.tag >= 0 else { return self.sendToken() }
        guard left == 1 else {
            self.step = .attaching(left: left - 1)
            return
        }
        self.step = .attached
        self.timer?.cancel()
        self.user.attached(self)
    }

    private func sendToken() {
        guard case .authorizing(let next) = self.step, let tokens, !tokens.isWaiting, tokens.isReady(self.engine) else {
            return
        }
        let claim = self.plan.claims[next]
        tokens.send(.putToken(claim.token, audience: claim.audience), self.engine)
    }

    private func deliveryReceived(_ delivery: IncomingDelivery, _ link: Link, _ context: ChannelHandlerContext) {
        if link.tag >= 0 {
            self.user.received(delivery, on: link, self)
            return
        }
        self.settle(delivery, .accepted)
        do throws(HubClientError) {
            let message: Message
            do {
                message = try Message(payload: delivery.payload, limits: self.engine.limits)
            } catch {
                throw .protocolViolation("an answer cannot be decoded: \(error)")
            }
            try message.checkStatus()
            try self.tokenTaken()
        } catch {
            self.end(error, context)
        }
    }

    private func tokenTaken() throws(HubClientError) {
        guard case .authorizing(let current) = self.step else { return }
        self.tokens?.answered()
        if current + 1 < self.plan.claims.count {
            self.step = .authorizing(next: current + 1)
            self.sendToken()
            return
        }
        self.step = .attaching(left: self.plan.links.count)
        for (index, request) in self.plan.links.enumerated() {
            try self.attach(request, index: index)
        }
    }

    private func attach(_ request: LinkPlan.Request, index: Int) throws(HubClientError) {
        var attach = Attach(name: "roost-\(index)", handle: 0, role: request.role)
        let isSender = request.role == .sender
        attach.source = Source(address: isSender ? attach.name : request.node)
        attach.target = Target(address: isSender ? request.node : attach.name)
        attach.senderSettleMode = .unsettled
        attach.receiverSettleMode = .first
        attach.initialDeliveryCount = isSender ? 0 : nil
        guard let session, let link = self.engine.attach(attach, on: session, credit: request.credit) else {
            throw .protocolViolation("there is no room for another link")
        }
        link.tag = index
        self.links.append(link)
    }

    func channelInactive(context: ChannelHandlerContext) {
        self.finish(.closed(during: "the use of its links"))
        context.fireChannelInactive()
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        if case .uncleanShutdown? = error as? NIOSSLError { return }
        self.end(.connecting(error, host: self.plan.address.dialHost, port: self.plan.address.amqpPort), context)
    }

    private func end(_ error: HubClientError, _ context: ChannelHandlerContext) {
        self.finish(error)
        context.close(promise: nil)
    }

    private func finish(_ error: HubClientError) {
        if case .ended = self.step { return }
        self.step = .ended
        self.timer?.cancel()
        self.clock?.cancel()
        self.user.ended(error)
    }
}

@available(*, unavailable)
extension LinkConnection: Sendable {}

extension HubClientError {
    /// Why something was lost, in the hub's words if it gave any.
    init(_ error: AMQPError?, lost what: String) {
        guard let error else {
            self = .closed(during: "the use of AMQP: \(what) is gone")
            return
        }
        self = .amqpRefused(condition: error.condition.rawValue, description: error.description ?? "")
    }
}
