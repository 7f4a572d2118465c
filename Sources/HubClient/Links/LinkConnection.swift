// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import AMQP
import NIOCore
import NIOSSL

/// One AMQP connection of a client: signs in, attaches links for its user, hands over what happens on them, renews
/// its tokens before they end.
///
/// | step      | what it waits for          | what it does then |
/// |-----------|----------------------------|-------------------|
/// | opening   | the session                | sends a token to `$cbs` for each claim |
/// | signingIn | the answers to the tokens  | lets the user attach its links |
/// | signedIn  | the user                   | attaches the links |
/// | attaching | the answer of each link    | says that they are attached |
/// | attached  | messages and settlements   | hands them over |
/// | ended     |                            | |
final class LinkConnection: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    private enum Step {
        case opening
        case signingIn(left: Int)
        case signedIn
        case attaching(left: Int)
        case attached
        case ended
    }

    /// What the client signs in for and attaches.
    let plan: LinkPlan
    /// The rules of the connection; whoever sends outside of a call of its user calls ``flush()`` afterwards.
    let engine: ConnectionEngine
    /// The links in the order of the requests, once they are being attached.
    private(set) var links: [Link] = []
    private let user: any LinkUser
    private let attached: EventLoopPromise<Void>
    private let ended: EventLoopPromise<Void>
    private var step = Step.opening
    private var session: Session?
    private var requests: [LinkPlan.Request] = []
    private var requestLinks: [RequestLinks] = []
    private var timer: Scheduled<Void>?
    private var clock: RepeatedTask?
    private var renewal: RepeatedTask?
    private var context: ChannelHandlerContext?

    /// Prepares the connection.
    ///
    /// - Parameters:
    ///   - plan: what to sign in for and to attach.
    ///   - user: what uses the links.
    ///   - attached: succeeds when every link is attached; fails when the connection ended before.
    ///   - ended: fails when the connection ended, with the reason.
    init(
        plan: LinkPlan,
        user: any LinkUser,
        attached: EventLoopPromise<Void>,
        ended: EventLoopPromise<Void>
    ) {
        self.plan = plan
        self.user = user
        self.attached = attached
        self.ended = ended
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

    // MARK: - For the user

    /// Whether the socket takes what is written.
    var isWritable: Bool { self.context?.channel.isWritable ?? false }

    /// Attaches links; the user is told when all of them are attached.
    ///
    /// - Throws: ``HubClientError/protocolViolation(_:)`` when the hub allows fewer.
    func attach(_ requests: [LinkPlan.Request]) throws(HubClientError) {
        self.requests = requests
        self.step = .attaching(left: requests.count)
        for (index, request) in requests.enumerated() {
            var attach = Attach(name: "roost-\(index)", handle: 0, role: request.role)
            let isSender = request.role == .sender
            attach.source = Source(address: isSender ? attach.name : request.node)
            attach.source?.filter = request.filter
            attach.target = Target(address: isSender ? request.node : attach.name)
            attach.senderSettleMode = request.isSettled ? .settled : .unsettled
            attach.receiverSettleMode = .first
            attach.initialDeliveryCount = isSender ? 0 : nil
            guard let session, let link = self.engine.attach(attach, on: session, credit: request.credit) else {
                throw .protocolViolation("there is no room for another link")
            }
            link.tag = index
            self.links.append(link)
        }
        if requests.isEmpty {
            self.allAttached()
        }
    }

    /// Sends a request to a node that answers, when those before it are answered.
    ///
    /// A refusal ends the connection, as does what `answered` throws.
    func ask(_ node: String, _ request: ServiceRequest, answered: @escaping RequestLinks.Answered) {
        guard let session else { return }
        if let known = self.requestLinks.first(where: { $0.node == node }) {
            known.ask(request, answered: answered)
            return
        }
        let links = RequestLinks(node: node, engine: self.engine, session: session)
        self.requestLinks.append(links)
        links.ask(request, answered: answered)
    }

    /// Says that a message is dealt with.
    func settle(_ delivery: IncomingDelivery, _ state: DeliveryState) {
        guard !delivery.isSettled, let session else { return }
        self.engine.settle(delivery.id, on: session, state)
    }

    /// Writes what the engine has to send.
    func flush() {
        guard let context, self.engine.hasOutput else { return }
        let bytes = self.engine.takeOutput(now: Self.now())
        guard bytes.readableBytes > 0 else { return }
        context.writeAndFlush(self.wrapOutboundOut(bytes), promise: nil)
    }

    // MARK: - Signing in

    private func sendTokens() throws(HubClientError) {
        for claim in self.plan.claims {
            let token = try claim.token(validSeconds: self.plan.tokenSeconds)
            self.ask("$cbs", .putToken(token, audience: claim.audience)) { _ throws(HubClientError) in
                try self.tokenTaken()
            }
        }
    }

    private func tokenTaken() throws(HubClientError) {
        guard case .signingIn(let left) = self.step else { return }
        self.step = .signingIn(left: left - 1)
        if left == 1 {
            try self.signedIn()
        }
    }

    private func signedIn() throws(HubClientError) {
        self.step = .signedIn
        if let context {
            // Early enough that a hub which is busy for a while does not end what rests on the old tokens.
            let interval = TimeAmount.seconds(max(1, self.plan.tokenSeconds * 3 / 4))
            let loopBound = NIOLoopBound((self, context), eventLoop: context.eventLoop)
            self.renewal = context.eventLoop.scheduleRepeatedTask(initialDelay: interval, delay: interval) { _ in
                let (connection, context) = loopBound.value
                connection.renewTokens(context)
            }
        }
        try self.user.signedIn(self)
    }

    private func renewTokens(_ context: ChannelHandlerContext) {
        do throws(HubClientError) {
            try self.sendTokens()
            self.flush()
        } catch {
            self.end(error, context)
        }
    }

    // MARK: - What the engine tells

    private func eventReceived(_ event: ConnectionEvent) throws(HubClientError) {
        switch event {
        case .delivery(let link, let delivery):
            try self.deliveryReceived(delivery, link)
        case .disposition(let link, let id, let state, _):
            if link.tag >= 0 {
                self.user.settled(id, state, on: link)
            }
        case .saslOutcome(let code):
            guard code == .ok else { throw .amqpRefused(condition: "SASL outcome \(code)", description: "") }
        case .opened:
            self.session = self.engine.begin()
        case .begun:
            self.step = .signingIn(left: self.plan.claims.count)
            try self.plan.claims.isEmpty ? self.signedIn() : self.sendTokens()
        case .attached(let link):
            self.linkAttached(link)
        case .flow:
            self.sendRequests()
        case .detached(let link, let error):
            let request = link.tag >= 0 ? self.requests[link.tag].node : self.requestLinks(link)?.node
            throw .init(error, lost: "the link to \(request ?? link.name)")
        case .ended(_, _, let error):
            throw .init(error, lost: "the session")
        case .closed(let error):
            throw .init(error, lost: "the connection")
        case .failed(let error):
            throw .protocolViolation(error.description ?? error.condition.rawValue)
        case .saslInit:
            break
        }
    }

    private func requestLinks(_ receiver: Link) -> RequestLinks? {
        self.requestLinks.first { $0.receiver === receiver }
    }

    private func sendRequests() {
        for links in self.requestLinks {
            links.sendNext()
        }
    }

    private func linkAttached(_ link: Link) {
        // A refusal is answered by an attach without terminus; its reason comes with the detach.
        guard link.state == .attached else { return }
        guard case .attaching(let left) = self.step, link.tag >= 0 else { return self.sendRequests() }
        self.step = .attaching(left: left - 1)
        if left == 1 {
            self.allAttached()
        }
    }

    private func allAttached() {
        self.step = .attached
        self.timer?.cancel()
        self.user.attached(self)
        self.attached.succeed()
    }

    private func deliveryReceived(_ delivery: IncomingDelivery, _ link: Link) throws(HubClientError) {
        if link.tag >= 0 {
            try self.user.received(delivery, on: link, self)
            return
        }
        self.settle(delivery, .accepted)
        try self.requestLinks(link)?.answerReceived(delivery.payload)
    }

    // MARK: - The channel

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
        if case .ended = self.step { return }
        self.engine.receive(self.unwrapInboundIn(data), now: Self.now())
        do throws(HubClientError) {
            while let event = self.engine.nextEvent() {
                try self.eventReceived(event)
            }
        } catch {
            // What the engine has to say of it, such as the answer to a close.
            self.flush()
            self.end(error, context)
            return
        }
        if case .attached = self.step {
            self.user.maySend(self)
        }
        self.flush()
    }

    func channelWritabilityChanged(context: ChannelHandlerContext) {
        guard context.channel.isWritable, case .attached = self.step else { return }
        self.user.maySend(self)
        self.flush()
    }

    private func timePassed(_ context: ChannelHandlerContext) {
        let outcome = self.engine.timePassed(now: Self.now())
        self.flush()
        if outcome == .timedOut {
            self.end(.timedOut(waitingFor: "a sign of life"), context)
        }
    }

    func channelInactive(context: ChannelHandlerContext) {
        self.finish(.closed(during: self.plan.purpose))
        context.fireChannelInactive()
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        // A peer that closes without the closing alert of TLS has closed all the same.
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
        self.renewal?.cancel()
        // Who waits for an answer holds the connection; nothing is answered any more.
        self.requestLinks.removeAll()
        self.user.ended(error)
        self.attached.fail(error)
        self.ended.fail(error)
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
