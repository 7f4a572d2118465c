// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import AMQP
import Hub
import HubModel
import NIOCore

/// What the events of one connection mean to the hub: sign-in, and which node serves which link.
final class AMQPConnection {
    /// The node behind a link, by the link's tag.
    enum Node {
        case claims
        case management(entity: String?)
        case partition(PartitionNode)
    }

    let engine: ConnectionEngine
    let hub: Hub
    let limits: AMQPFrontLimits
    let eventLoop: any EventLoop
    unowned let handler: AMQPHandler
    var access = ConnectionAccess()
    let responses: ResponseQueue

    private var nodes: [Int: Node] = [:]
    private var links: [Int: Link] = [:]
    private var lastTag = 0
    private var isPlain = false

    init(handler: AMQPHandler, eventLoop: any EventLoop, now: Int64) {
        self.handler = handler
        self.eventLoop = eventLoop
        hub = handler.front.hub
        limits = handler.front.limits
        engine = ConnectionEngine(
            role: .server(mechanisms: ["EXTERNAL", "MSSBCBS", "ANONYMOUS", "PLAIN"]),
            containerID: handler.front.containerID,
            hostname: handler.front.hub.names.hostName,
            limits: handler.front.limits.engine,
            now: now
        )
        responses = ResponseQueue(engine: engine, max: handler.front.limits.waitingResponsesMax)
    }

    /// Frees everything that the hub keeps for this connection; may be called again.
    func close() {
        for case .partition(let node) in nodes.values { node.close() }
        nodes.removeAll()
        links.removeAll()
        responses.removeAll()
    }

    // MARK: Events

    func handleEvents() {
        while let event = engine.nextEvent() { handle(event) }
    }

    private func handle(_ event: ConnectionEvent) {
        switch event {
        case .saslInit(let start): engine.finishSASL(authenticate(start))
        case .opened: handler.rescheduleCheck()
        case .saslOutcome, .begun, .disposition: break
        case .attached(let link): attach(link)
        case .delivery(let link, let delivery): received(delivery, on: link)
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

    private func authenticate(_ start: SASLInit) -> SASLOutcomeCode {
        switch SASLMechanism(rawValue: start.mechanism) {
        case .anonymous, .mssbcbs: return .ok
        case .plain: return plain(start)
        case .external, nil:
            hub.metrics.refused("amqp certificate")
            handler.log("amqp sign-in refused: certificates are not taken over AMQP yet")
            return .auth
        }
    }

    /// PLAIN: `{policy}` with its key, or `{policy}@sas.root.{hub}` with a token; it holds for the whole connection.
    private func plain(_ start: SASLInit) -> SASLOutcomeCode {
        guard let response = start.initialResponse, let given = PlainCredentials(initialResponse: response) else {
            hub.metrics.refused("amqp plain")
            handler.log("amqp sign-in refused: PLAIN without name and password")
            return .auth
        }
        do throws(HubError) {
            access.add(try principal(given))
            isPlain = true
            handler.announceSignIn()
            return .ok
        } catch {
            hub.metrics.refused("amqp plain")
            handler.log("amqp sign-in refused: \(error.message)")
            return .auth
        }
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
        let services = hub.services
        let isChanged = access.removeEnded(
            nowSeconds: hub.clock.seconds,
            skewSeconds: hub.limits.clockSkewSeconds,
            isStillGood: policiesChanged ? { services.isStillGood($0) } : nil
        )
        guard isChanged else { return }
        for (tag, node) in nodes {
            guard let link = links[tag], !isAllowed(node) else { continue }
            engine.detach(link, .accessEnded)
            remove(link)
        }
        // PLAIN's one credential stands for the whole connection, which cannot be used for anything without it.
        if isPlain, access.count == 0 {
            engine.close(AMQPError(.connectionForced, "The credentials of this connection have ended."))
        }
    }

    private func isAllowed(_ node: Node) -> Bool {
        switch node {
        case .claims: true
        case .management(let entity): mayManage(entity)
        case .partition(let node): access.mayRead(node.path)
        }
    }

    private func mayManage(_ entity: String?) -> Bool {
        access.mayRead([entity ?? hub.names.shortName, "$management"])
    }

    // MARK: Links

    private func attach(_ link: Link) {
        let isToUs = link.role == .receiver
        let text = isToUs ? link.remoteAttach.target?.address : link.remoteAttach.source?.address
        let address = NodeAddress(text ?? "")
        switch address {
        case .claims: accept(link, .claims)
        case .management(let entity):
            guard entity.map(hub.names.isEntity(_:)) ?? true else { return refuseUnknown(link, text) }
            guard mayManage(entity) else { return refuse(link, .listenClaimMissing) }
            accept(link, .management(entity: entity))
        case .partition(let entity, let group, let partition) where !isToUs:
            attachReader(link, entity: entity, group: group, partition: partition, address: text ?? "")
        case .entity, .partition:
            refuse(link, isToUs ? .sendClaimMissing : .entityNotFound(host: hub.names.hostName, path: path(text)))
        case .hubEvents:
            let hint = "Attach to \(hub.names.shortName)/ConsumerGroups/$Default/Partitions/0 and the like instead."
            refuse(link, AMQPError(.notImplemented, "The address messages/events leads nowhere yet. \(hint)"))
        case .hubNode:
            refuse(link, AMQPError(.notImplemented, "Links of devices and services are not offered over AMQP yet."))
        case .unknown: refuseUnknown(link, text)
        }
    }

    private func attachReader(_ link: Link, entity: String, group: String, partition: String, address: String) {
        let path = [entity, "ConsumerGroups", group, "Partitions", partition]
        guard access.mayRead(path) else { return refuse(link, .listenClaimMissing) }
        guard hub.names.isEntity(entity), let group = hub.consumerGroups.canonical(group),
            let number = Int(partition), String(number) == partition,
            (0..<hub.stores.events.partitionCount).contains(number)
        else { return refuseUnknown(link, address) }
        let node = PartitionNode(
            link: link,
            connection: self,
            place: ReaderRegistry.Place(group: group, partition: number),
            path: path
        )
        add(link, .partition(node))
        if let error = node.open() {
            remove(link)
            refuse(link, error)
        }
    }

    private func accept(_ link: Link, _ node: Node) {
        add(link, node)
        engine.accept(link, with: engine.reply(to: link), credit: limits.requestCredit)
    }

    func refuse(_ link: Link, _ error: AMQPError) {
        hub.metrics.refused("amqp link")
        engine.refuse(link, error)
    }

    private func refuseUnknown(_ link: Link, _ address: String?) {
        refuse(link, .entityNotFound(host: hub.names.hostName, path: path(address)))
    }

    private func path(_ address: String?) -> String { NodeAddress.path(of: address ?? "") }

    private func add(_ link: Link, _ node: Node) {
        lastTag += 1
        link.tag = lastTag
        nodes[lastTag] = node
        links[lastTag] = link
    }

    func remove(_ link: Link) {
        if case .partition(let node)? = nodes.removeValue(forKey: link.tag) { node.close() }
        links[link.tag] = nil
        responses.remove(link)
    }

    // MARK: Traffic

    private func received(_ delivery: IncomingDelivery, on link: Link) {
        switch nodes[link.tag] {
        case .claims: putToken(delivery, on: link)
        case .management(let entity): manage(delivery, on: link, entity: entity)
        case .partition, nil: engine.settle(delivery.id, on: link.session, .released)
        }
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
        switch nodes[link.tag] {
        case .claims, .management:
            responses.send(on: link)
            engine.drained(link)
        case .partition(let node): node.pump()
        case nil: break
        }
    }

    /// Lets every reader send, as after the socket has taken what it was given.
    func pumpAll() {
        for case .partition(let node) in nodes.values { node.pump() }
    }

    /// The link on which the peer wants the answer to a request that came on `request`.
    func responseLink(for request: Link, replyTo: String?) -> Link? {
        let isClaims = if case .claims = nodes[request.tag] { true } else { false }
        let candidates = links.filter { tag, link in
            guard link.role == .sender, link.state == .attached else { return false }
            switch nodes[tag] {
            case .claims: return isClaims
            case .management: return !isClaims
            case .partition, nil: return false
            }
        }.sorted { $0.key > $1.key }.map(\.value)
        let sameSession = candidates.filter { $0.session === request.session }
        if let replyTo,
            let named = (sameSession + candidates).first(where: {
                $0.remoteAttach.target?.address == replyTo
            })
        {
            return named
        }
        return sameSession.first ?? candidates.first
    }
}

@available(*, unavailable)
extension AMQPConnection: Sendable {}
