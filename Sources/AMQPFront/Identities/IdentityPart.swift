// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import AMQP
import Hub
import HubModel
import NIOCore

/// One identity's part of a connection: what it proved itself with, its session, and its links.
///
/// The session begins with the first link and ends with the last one, so that an identity whose links are gone counts as
/// disconnected although the connection, which it may share with others, goes on. The proof stays for the next link.
final class IdentityPart {
    /// Who it is.
    let id: IdentityID
    /// What it proved itself with.
    private(set) var credential: DeviceCredential
    /// Its session with the hub, while it has links.
    private(set) var session: DeviceSession?
    /// Its links.
    private(set) var nodes: [IdentityNode] = []

    private unowned let identities: ConnectionIdentities
    private let hub: Hub
    private let eventLoop: any EventLoop
    private var identity: AuthenticatedIdentity
    private var ticket: Directory.SignInTicket
    private var anchor: Anchor?

    /// What the hub holds on to: one for each session, so that what is meant for an earlier one does not reach a later.
    private final class Anchor: DeviceConnection {
        weak var part: IdentityPart?

        init(_ part: IdentityPart) { self.part = part }

        func deliver(_ delivery: Delivery) { part?.deliver(delivery) }
    }

    init(
        _ identity: AuthenticatedIdentity,
        ticket: Directory.SignInTicket,
        credential: DeviceCredential,
        identities: ConnectionIdentities,
        hub: Hub,
        eventLoop: any EventLoop
    ) {
        id = identity.id
        self.identity = identity
        self.ticket = ticket
        self.credential = credential
        self.identities = identities
        self.hub = hub
        self.eventLoop = eventLoop
    }

    /// Which policy its proof rests on; nil for a proof of its own.
    var policy: String? {
        if case .policyKey(let policy, _) = identity.proof { policy } else { nil }
    }

    /// When its links must end, in seconds since 1970 UTC; nil for never.
    var endsAtSeconds: Int64? {
        guard let end = identity.expiresAtSeconds else { return nil }
        let (sum, overflow) = end.addingReportingOverflow(hub.limits.clockSkewSeconds)
        return overflow ? nil : sum
    }

    // MARK: Proof

    /// Rests on a newer proof from now on.
    ///
    /// - Returns: False where something was revoked while it was looked at.
    func renew(_ newer: AuthenticatedIdentity, ticket: Directory.SignInTicket, credential: DeviceCredential) -> Bool {
        if let session, !session.renew(newer, ticket: ticket) { return false }
        identity = newer
        self.ticket = ticket
        self.credential = credential
        return true
    }

    /// Begins the session unless there is one, which ends the identity's other connection.
    ///
    /// - Returns: False where something was revoked since the proof was looked at: it must be looked at again.
    func begin(modelID: String?) -> Bool {
        if let session {
            if let modelID { session.announce(modelID: modelID) }
            return true
        }
        identity.modelID = modelID
        let anchor = Anchor(self)
        guard let session = hub.open(identity, link: DeviceLink(anchor, eventLoop: eventLoop), ticket: ticket) else {
            return false
        }
        self.anchor = anchor
        self.session = session
        return true
    }

    // MARK: Links

    /// Takes up a link; the session is there.
    ///
    /// - Returns: The older link of its kind, which it takes the place of.
    func add(_ node: IdentityNode) -> IdentityNode? {
        let older = node.kind.isExclusive ? nodes.first { $0.kind == node.kind } : nil
        nodes.append(node)
        return older
    }

    /// Forgets a link that is gone, and ends the session with the last one.
    func remove(_ node: IdentityNode) {
        nodes.removeAll { $0 === node }
        if nodes.isEmpty { endSession() }
    }

    /// The link of a kind.
    func node(_ kind: IdentityLinkKind) -> IdentityNode? { nodes.last { $0.kind == kind } }

    /// Tells the hub whether methods can be called: that takes both links, and credit on the one.
    ///
    /// - Parameter gone: A link that is about to go.
    func methodsChanged(without gone: IdentityNode? = nil) {
        let calls = nodes.last { $0.kind == .methodCalls && $0 !== gone } as? MethodCallNode
        let hasAnswers = nodes.contains { $0.kind == .methodAnswers && $0 !== gone }
        session?.wants(.methods, hasAnswers && calls?.hasHadCredit == true)
    }

    /// Tells the hub that the session ended; may be called again.
    func endSession() {
        anchor?.part = nil
        anchor = nil
        session?.close()
        session = nil
    }

    private func deliver(_ delivery: Delivery) {
        switch delivery {
        case .disconnect(let reason): identities.end(self, reason)
        case .desiredPatch: node(.twinAnswers)?.deliver(delivery)
        case .methodCall: node(.methodCalls)?.deliver(delivery)
        case .commandsWaiting: node(.commands)?.deliver(delivery)
        }
    }
}

@available(*, unavailable)
extension IdentityPart: Sendable {}
