// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import AMQP
import NIOCore
import NIOSSL

/// The reader's end of one AMQP connection.
///
/// | step       | what it waits for                  | what it does then |
/// |------------|------------------------------------|-------------------|
/// | opening    | the session                        | attaches to `$cbs` |
/// | authorizing| the answer to put-token            | attaches to `$management`, unless the plan names partitions |
/// | asking     | the partition list                 | attaches a receiver to each partition |
/// | attaching  | the answer of each partition       | says that it is attached |
/// | reading    | events                             | hands them over; renews the token in time |
/// | ended      |                                    | |
final class EventReaderConnection: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    private enum Step {
        case opening
        case authorizing
        case asking
        case attaching(left: Int)
        case reading
        case ended
    }

    private let plan: EventReaderPlan
    private let attached: EventLoopPromise<[String]>
    private let ended: EventLoopPromise<Void>
    private let received: @Sendable (ArrivedEvent) -> Void
    private let engine: ConnectionEngine
    private var step = Step.opening
    private var session: Session?
    private var tokens: RequestLinks?
    private var management: RequestLinks?
    private var partitions: [String] = []
    private var timer: Scheduled<Void>?
    private var clock: RepeatedTask?
    private var renewal: RepeatedTask?
    /// A token that waits for the credit of the link to `$cbs`.
    private var tokenToSend: String?

    init(
        plan: EventReaderPlan,
        firstToken: String,
        attached: EventLoopPromise<[String]>,
        ended: EventLoopPromise<Void>,
        received: @escaping @Sendable (ArrivedEvent) -> Void
    ) {
        self.plan = plan
        self.tokenToSend = firstToken
        self.attached = attached
        self.ended = ended
        self.received = received
        self.engine = ConnectionEngine(
            role: .client(SASLInit(mechanism: "ANONYMOUS", initialResponse: ByteBuffer())),
            containerID: "roost-reader",
            hostname: plan.address.bareHostName,
            now: Self.now()
        )
    }

    private static func now() -> Int64 {
        Int64(NIODeadline.now().uptimeNanoseconds / 1_000_000)
    }

    func channelActive(context: ChannelHandlerContext) {
        let loopBound = NIOLoopBound((self, context), eventLoop: context.eventLoop)
        self.timer = context.eventLoop.scheduleTask(in: .init(self.plan.attach)) {
            let (connection, context) = loopBound.value
            connection.end(.timedOut(waitingFor: "the event hub's receivers"), context)
        }
        let interval = TimeAmount.milliseconds(self.engine.timeCheckMilliseconds)
        self.clock = context.eventLoop.scheduleRepeatedTask(initialDelay: interval, delay: interval) { _ in
            let (connection, context) = loopBound.value
            connection.timePassed(context)
        }
        self.flush(context)
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        self.engine.receive(self.unwrapInboundIn(data), now: Self.now())
        while let event = self.engine.nextEvent() {
            self.eventReceived(event, context)
        }
        self.flush(context)
    }

    private func flush(_ context: ChannelHandlerContext) {
        guard self.engine.hasOutput else { return }
        let bytes = self.engine.takeOutput(now: Self.now())
        guard bytes.readableBytes > 0 else { return }
        context.writeAndFlush(self.wrapOutboundOut(bytes), promise: nil)
    }

    private func timePassed(_ context: ChannelHandlerContext) {
        let outcome = self.engine.timePassed(now: Self.now())
        self.flush(context)
        if outcome == .timedOut {
            self.end(.timedOut(waitingFor: "a sign of life"), context)
        }
    }

    private func eventReceived(_ event: ConnectionEvent, _ context: ChannelHandlerContext) {
        switch event {
        case .delivery(let link, let delivery):
            self.deliveryReceived(delivery, link, context)
        case .saslOutcome(let code):
            if code != .ok {
                self.end(.amqpRefused(condition: "SASL outcome \(code)", description: ""), context)
            }
        case .opened:
            self.session = self.engine.begin()
        case .begun(let session):
            self.step = .authorizing
            self.tokens = RequestLinks(node: "$cbs", engine: self.engine, session: session)
        case .attached(let link):
            self.linkAttached(link, context)
        case .flow:
            self.sendRequests()
        case .detached(let link, let error):
            let what = link.remoteAttach.source?.address ?? link.name
            self.end(.init(error, lost: "the link to \(what)"), context)
        case .ended(_, _, let error):
            self.end(.init(error, lost: "the session"), context)
        case .closed(let error):
            self.end(.init(error, lost: "the connection"), context)
        case .failed(let error):
            self.flush(context)
            self.end(.protocolViolation(error.description ?? error.condition.rawValue), context)
        case .saslInit, .disposition:
            break
        }
    }

    private func linkAttached(_ link: Link, _ context: ChannelHandlerContext) {
        // A refusal is answered by an attach without terminus; its reason comes with the detach.
        guard link.state == .attached else { return }
        if case .attaching(let left) = self.step, link.tag >= 0 {
            self.step = left > 1 ? .attaching(left: left - 1) : .reading
            if left == 1 {
                self.readingBegins(context)
            }
            return
        }
        self.sendRequests()
    }

    /// Sends what waits for a link to be attached and to have credit.
    private func sendRequests() {
        if let token = self.tokenToSend, let tokens, tokens.isReady(self.engine) {
            self.tokenToSend = nil
            tokens.send(.putToken(token, audience: self.plan.audience), self.engine)
        }
        if case .asking = self.step, let management, !management.isWaiting, management.isReady(self.engine) {
            management.send(.readEventHub(self.plan.eventHubName), self.engine)
        }
    }

    private func deliveryReceived(_ delivery: IncomingDelivery, _ link: Link, _ context: ChannelHandlerContext) {
        if !delivery.isSettled, let session {
            self.engine.settle(delivery.id, on: session, .accepted)
        }
        if link.tag >= 0 {
            do throws(AMQPDecodeError) {
                let sections = try MessageSections(payload: delivery.payload, limits: self.engine.limits)
                self.received(ArrivedEvent(partition: self.partitions[link.tag], sections: sections))
            } catch {
                self.end(.protocolViolation("an event cannot be decoded: \(error)"), context)
            }
            return
        }
        do throws(HubClientError) {
            let message: Message
            do {
                message = try Message(payload: delivery.payload, limits: self.engine.limits)
            } catch {
                throw .protocolViolation("an answer cannot be decoded: \(error)")
            }
            try self.answerReceived(message, link)
        } catch {
            self.end(error, context)
        }
    }

    private func answerReceived(_ message: Message, _ link: Link) throws(HubClientError) {
        try message.checkStatus()
        if let management, management.receiver === link {
            guard case .asking = self.step else { return }
            self.partitions = try message.partitionIDs()
            try self.attachReceivers()
            return
        }
        guard case .authorizing = self.step, let session else { return }
        guard let partitions = self.plan.partitions else {
            self.step = .asking
            let node = "\(self.plan.eventHubName)/$management"
            self.management = RequestLinks(node: node, engine: self.engine, session: session)
            return
        }
        self.partitions = partitions
        try self.attachReceivers()
    }

    private func attachReceivers() throws(HubClientError) {
        guard let session, !self.partitions.isEmpty else { throw .protocolViolation("there are no partitions") }
        self.step = .attaching(left: self.partitions.count)
        for (index, partition) in self.partitions.enumerated() {
            var attach = Attach(name: "roost-reader-\(partition)", handle: 0, role: .receiver)
            var source = Source(address: self.plan.source(partition: partition))
            source.filter = self.plan.start.filter
            attach.source = source
            attach.target = Target(address: "roost-reader-\(partition)")
            attach.senderSettleMode = .settled
            attach.receiverSettleMode = .first
            guard let link = self.engine.attach(attach, on: session, credit: self.plan.credit) else {
                throw .protocolViolation("there is no room for another link")
            }
            link.tag = index
        }
    }

    private func readingBegins(_ context: ChannelHandlerContext) {
        self.timer?.cancel()
        self.attached.succeed(self.partitions)
        let interval = TimeAmount.seconds(max(1, self.plan.tokenSeconds * 3 / 4))
        let loopBound = NIOLoopBound((self, context), eventLoop: context.eventLoop)
        self.renewal = context.eventLoop.scheduleRepeatedTask(initialDelay: interval, delay: interval) { _ in
            let (connection, context) = loopBound.value
            connection.renew(context)
        }
    }

    private func renew(_ context: ChannelHandlerContext) {
        do throws(HubClientError) {
            self.tokenToSend = try self.plan.token()
            self.sendRequests()
            self.flush(context)
        } catch {
            self.end(error, context)
        }
    }

    func channelInactive(context: ChannelHandlerContext) {
        self.finish(.closed(during: "the reading of events"))
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
        self.renewal?.cancel()
        self.attached.fail(error)
        self.ended.fail(error)
    }
}

@available(*, unavailable)
extension EventReaderConnection: Sendable {}
