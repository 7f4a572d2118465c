// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import AMQP
import Hub
import HubModel
import NIOCore

/// What the events of one connection mean to the hub: sign-in, and which node serves which link.
final class AMQPConnection {
    /// What is offered, in this order.
    static let mechanisms = ["EXTERNAL", "MSSBCBS", "ANONYMOUS", "PLAIN"]

    let engine: ConnectionEngine
    let hub: Hub
    let limits: AMQPFrontLimits
    let eventLoop: any EventLoop
    unowned let handler: AMQPHandler
    var access = ConnectionAccess()
    let responses: ResponseQueue
    let budget: IngestBudget
    private(set) lazy var identities = ConnectionIdentities(connection: self)

    /// The nodes by the tags of their links, which count on.
    private(set) var nodes: [Int: any LinkNode] = [:]
    private var nodesRead: [any LinkNode] = []
    private var lastTag = 0
    private var isPlain = false

    init(handler: AMQPHandler, eventLoop: any EventLoop, now: Int64) {
        self.handler = handler
        self.eventLoop = eventLoop
        hub = handler.front.hub
        limits = handler.front.limits
        engine = ConnectionEngine(
            role: .server(mechanisms: Self.mechanisms),
            containerID: handler.front.containerID,
            hostname: handler.front.hub.names.hostName,
            limits: handler.front.limits.engine,
            now: now
        )
        responses = ResponseQueue(
            engine: engine,
            countMax: limits.waitingResponsesMax,
            bytesMax: limits.waitingResponseBytesMax
        )
        budget = IngestBudget(handler: handler, bytesMax: handler.front.limits.bytesInFlightMax)
    }

    /// Frees everything that the hub keeps for this connection; may be called again.
    func close() {
        for node in nodes.values { node.close() }
        nodes.removeAll()
        nodesRead.removeAll()
        identities.close()
        responses.removeAll()
    }

    // MARK: Events

    func handleEvents() {
        while let event = engine.nextEvent() { handle(event) }
        guard !nodesRead.isEmpty else { return }
        let nodes = nodesRead
        nodesRead.removeAll(keepingCapacity: true)
        for node in nodes { node.readEnded() }
    }

    /// Lets a node know of the end of this read.
    func wantsReadEnd(_ node: any LinkNode) { nodesRead.append(node) }

    private func handle(_ event: ConnectionEvent) {
        switch event {
        case .saslInit(let start): authenticate(start)
        case .opened: handler.rescheduleCheck()
        case .saslOutcome, .begun: break
        case .attached(let link): attach(link)
        case .delivery(let link, let delivery): received(delivery, on: link)
        case .disposition(let link, let id, let state, let isSettled):
            nodes[link.tag]?.disposition(of: id, state, isSettled: isSettled)
        case .flow(let session, let link, let windowOpened):
            flow(session, link, windowOpened: windowOpened)
        case .detached(let link, _): remove(link)
        case .ended(_, let links, let error):
            for link in links { remove(link) }
            if let error { handler.log("amqp session ended: \(error.condition.rawValue)") }
        case .closed: break
        case .failed(let error):
            hub.metrics.refused("amqp protocol")
            handler.log("amqp connection refused: \(error.condition.rawValue): \(error.description ?? "")")
        }
    }

    // MARK: Sign-in

    private func authenticate(_ start: SASLInit) {
        switch SASLMechanism(rawValue: start.mechanism) {
        case .anonymous, .mssbcbs: engine.finishSASL(.ok)
        case .plain: plain(start)
        case .external where !handler.peerCertificates.isEmpty:
            // Whose it is shows when a link names its identity.
            engine.finishSASL(.ok)
        case .external: refuseSASL("amqp certificate", "no client certificate was presented")
        case nil: refuseSASL("amqp mechanism", "the mechanism is none that is offered")
        }
    }

    private func refuseSASL(_ reason: StaticString, _ text: String?) {
        hub.metrics.refused(reason)
        if let text { handler.log("amqp sign-in refused: \(text)") }
        engine.finishSASL(.auth)
    }

    /// PLAIN, whose one credential holds for the whole connection (docs/wire/amqp.md#headers-and-sasl): of a service, or
    /// of a device or module as `{id}@sas.{hub}`.
    private func plain(_ start: SASLInit) {
        guard let response = start.initialResponse, let given = PlainCredentials(initialResponse: response) else {
            return refuseSASL("amqp plain", "PLAIN without name and password")
        }
        let candidates = hub.names.identities(ofPlainName: given.name)
        guard candidates.isEmpty else {
            identities.put(given.password, for: candidates) { status in
                self.isPlain = true
                guard status.code != 200 else { return self.engine.finishSASL(.ok) }
                self.refuseSASL("amqp plain", status.isLogged ? nil : status.description)
            }
            return
        }
        do throws(HubError) {
            let principal = try principal(given)
            access.add(principal, token: given.password)
            isPlain = true
            handler.announceSignIn()
            engine.finishSASL(.ok)
        } catch {
            refuseSASL("amqp plain", error.message)
        }
    }

    /// A device or a module has signed in.
    func signedIn() {
        access.identitySignedIn()
        handler.announceSignIn()
    }

    /// An identity's part of the connection has ended.
    func identityEnded(_ reason: DisconnectReason) {
        // PLAIN's one credential stands for the whole connection; and where a token has ended that was the only one,
        // all SDKs take the end of the connection for what may be tried again.
        let isLast = access.count == 0 && identities.parts.isEmpty
        if reason == .shuttingDown || isLast && (isPlain || reason == .tokenExpired) {
            engine.close(AMQPError(.connectionForced, "The credentials of this connection have ended."))
        }
        handler.proceed()
    }

    private func principal(_ given: PlainCredentials) throws(HubError) -> ServicePrincipal {
        guard let at = given.name.lastIndex(of: "@") else {
            return try hub.services.authenticate(policy: given.name, key: given.password)
        }
        let policy = String(given.name[..<at])
        let realm = given.name[at...].dropFirst().lowercased()
        guard realm.hasPrefix("sas.root."), hub.names.isEntity(String(realm.dropFirst("sas.root.".count))) else {
            throw HubError(.unauthorized, "the user name is none of a service of this hub")
        }
        let principal = try authenticate(token: given.password)
        guard principal.policy == policy else {
            throw HubError(.unauthorized, "the token is another policy's than the user name says")
        }
        return principal
    }

    func authenticate(token: String) throws(HubError) -> ServicePrincipal {
        try hub.services.authenticate(token: token, dialect: .eventHubs, nowSeconds: hub.clock.seconds)
    }

    /// Forgets tokens that ended, and detaches the links that rested on them.
    ///
    /// - Parameter policiesChanged: Whether policies were just changed, so that they must be asked again.
    func removeEndedAccess(policiesChanged: Bool = false) {
        identities.removeEnded(nowSeconds: hub.clock.seconds)
        let services = hub.services
        let isChanged = access.removeEnded(
            nowSeconds: hub.clock.seconds,
            skewSeconds: hub.limits.clockSkewSeconds,
            isStillGood: policiesChanged ? { services.isStillGood($0) } : nil
        )
        guard isChanged else { return }
        for node in nodes.values where !node.isAllowed { detach(node, .accessEnded) }
        // PLAIN's one credential stands for the whole connection, which cannot be used for anything without it.
        if isPlain, access.count == 0, identities.parts.isEmpty {
            engine.close(AMQPError(.connectionForced, "The credentials of this connection have ended."))
        }
    }

    // MARK: Links

    private func attach(_ link: Link) {
        do throws(LinkRefusal) {
            let node = try makeNode(for: link)
            lastTag += 1
            link.tag = lastTag
            nodes[lastTag] = node
            guard let error = node.open() else { return }
            remove(link)
            refuse(link, error)
        } catch {
            refuse(link, error.error, maxMessageSize: error.maxMessageSize)
        }
    }

    func refuse(_ link: Link, _ error: AMQPError, maxMessageSize: UInt64? = nil) {
        hub.metrics.refused("amqp link")
        // In two writes, for a client that only listens for the detach once it has seen the answer.
        engine.refuse(link, error, maxMessageSize: maxMessageSize) { handler.write() }
    }

    /// Ends a node and its link, which may not have been accepted yet.
    func detach(_ node: any LinkNode, _ error: AMQPError) {
        let link = node.link
        remove(link)
        if link.state == .attachReceived { refuse(link, error) } else { engine.detach(link, error) }
    }

    func remove(_ link: Link) { nodes.removeValue(forKey: link.tag)?.close() }

    // MARK: Traffic

    private func received(_ delivery: IncomingDelivery, on link: Link) {
        if let node = nodes[link.tag] { return node.received(delivery) }
        if !delivery.isSettled { engine.settle(delivery.id, on: link.session, .released) }
    }

    private func flow(_ session: Session, _ link: Link?, windowOpened: Bool) {
        if let link {
            pump(link)
            guard windowOpened else { return }
        }
        for other in session.links where other !== link { pump(other) }
    }

    private func pump(_ link: Link) {
        guard link.role == .sender else { return }
        nodes[link.tag]?.pump()
    }

    /// Lets every node send, as after the socket has taken what it was given.
    func pumpAll() {
        for node in Array(nodes.values) where node.link.role == .sender { node.pump() }
    }
}

@available(*, unavailable)
extension AMQPConnection: Sendable {}
