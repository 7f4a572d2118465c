// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import AMQP
import Hub
import HubModel
import NIOCore

/// The identities of one connection: any number of devices and modules, each with its own proof, session and links.
///
/// What has to ask the store (a token that is put, a link whose identity has not signed in yet) is done one at a time and
/// in order, so that a link that follows a token finds its identity, and the later of two tokens counts.
final class ConnectionIdentities {
    private unowned let connection: AMQPConnection
    private let hub: Hub
    private let eventLoop: any EventLoop
    private(set) var parts: [IdentityID: IdentityPart] = [:]
    private var steps: [() -> Void] = []
    private var firstStep = 0
    private var isBusy = false
    private var isStepping = false
    private var isClosed = false

    init(connection: AMQPConnection) {
        self.connection = connection
        hub = connection.hub
        eventLoop = connection.eventLoop
    }

    /// Ends all sessions.
    func close() {
        isClosed = true
        steps.removeAll()
        firstStep = 0
        for part in parts.values { part.endSession() }
        parts.removeAll()
    }

    // MARK: Steps

    /// How many sign-ins wait for the one that is under way.
    var waitingCount: Int { steps.count - firstStep }

    private func step(_ body: @escaping () -> Void) {
        steps.append(body)
        runSteps()
    }

    private func runSteps() {
        guard !isStepping else { return }
        isStepping = true
        defer { isStepping = false }
        while !isBusy, firstStep < steps.count {
            isBusy = true
            let next = steps[firstStep]
            firstStep += 1
            if firstStep == steps.count {
                steps.removeAll(keepingCapacity: true)
                firstStep = 0
            }
            next()
        }
    }

    private func stepEnded() {
        isBusy = false
        runSteps()
        connection.handler.proceed()
    }

    private typealias SignIn = (identity: AuthenticatedIdentity, ticket: Directory.SignInTicket)

    /// What a look at a proof has shown.
    private enum Finding {
        case identity(SignIn, DeviceCredential)
        /// Nobody is who the proof was offered for.
        case refused
        /// The store could not tell.
        case unknown(HubError)
    }

    /// Looks at proofs one after another until one is good; called within a step, and calls back unless the connection is
    /// closed by then.
    private func look(
        at candidates: [(id: IdentityID, credential: DeviceCredential)],
        then body: @escaping (Finding) -> Void
    ) {
        let hub = hub
        eventLoop.makeFutureWithTask { () async throws -> (SignIn, DeviceCredential)? in
            for (id, credential) in candidates {
                do {
                    return (try await hub.authenticate(id, credential: credential), credential)
                } catch let error as HubError where error.code == .unauthorized || error.code == .notSupported {
                    continue
                }
            }
            return nil
        }.assumeIsolated().whenComplete { result in
            guard !self.isClosed else { return }
            switch result {
            case .success((let signIn, let credential)?): body(.identity(signIn, credential))
            case .success(nil): body(.refused)
            case .failure(let error):
                body(.unknown(error as? HubError ?? HubError(.serviceUnavailable, "The hub could not tell.")))
            }
        }
    }

    // MARK: Tokens

    /// Takes a token for one of some identities, and answers how that went.
    func put(_ token: String, for candidates: [IdentityID], answer: @escaping (RequestStatus) -> Void) {
        step {
            self.look(at: candidates.map { ($0, .token(token)) }) { finding in
                answer(self.take(finding))
                self.stepEnded()
            }
        }
    }

    private func take(_ finding: Finding) -> RequestStatus {
        switch finding {
        case .refused: return .refusedSignIn
        case .unknown(let error): return RequestStatus(code: 500, description: error.message)
        case .identity(let signIn, let credential):
            if let part = parts[signIn.identity.id] {
                guard part.renew(signIn.identity, ticket: signIn.ticket, credential: credential) else {
                    return .invalidToken
                }
            } else {
                guard parts.count + connection.access.count < connection.limits.tokensMax else {
                    return .tooManyTokens
                }
                add(signIn, credential)
            }
            connection.signedIn()
            return .ok
        }
    }

    @discardableResult
    private func add(_ signIn: SignIn, _ credential: DeviceCredential) -> IdentityPart {
        let part = IdentityPart(
            signIn.identity,
            ticket: signIn.ticket,
            credential: credential,
            identities: self,
            hub: hub,
            eventLoop: eventLoop
        )
        parts[part.id] = part
        return part
    }

    /// Lets the identities that rest on a policy rest on its newer token.
    func renew(_ token: String, of principal: ServicePrincipal) {
        for part in parts.values where part.policy == principal.policy && principal.covers(path: Self.path(part.id)) {
            step {
                self.look(at: [(part.id, .token(token))]) { finding in
                    // Where it is not good for this one, the older one goes on until its own end.
                    if case .identity(let signIn, let credential) = finding {
                        _ = part.renew(signIn.identity, ticket: signIn.ticket, credential: credential)
                    }
                    self.stepEnded()
                }
            }
        }
    }

    static func path(_ id: IdentityID) -> String {
        "devices/\(id.device)" + (id.module.map { "/modules/\($0)" } ?? "")
    }

    // MARK: Links

    /// Brings a new link to its identity's part, at once or when what is before it is done.
    ///
    /// - Returns: What to refuse the link with; nil when all is well so far.
    func enter(_ node: IdentityNode) -> AMQPError? {
        if !isBusy, firstStep == steps.count {
            if let part = part(of: node), join(node, part) { return nil }
            guard part(of: node) != nil || !proofs(for: node).isEmpty else { return .identityMissing }
        }
        step { self.signIn(node, attempt: 1) }
        return nil
    }

    private func part(of node: IdentityNode) -> IdentityPart? {
        for id in node.address.candidates {
            if let part = parts[id] { return part }
        }
        return nil
    }

    /// The proofs that the connection holds for the identity of a link: tokens of policies, and the client certificate.
    private func proofs(for node: IdentityNode) -> [(id: IdentityID, credential: DeviceCredential)] {
        let chain = connection.handler.peerCertificates
        return node.address.candidates.flatMap { id in
            let tokens = connection.access.deviceTokens(covering: Self.path(id)).map { DeviceCredential.token($0) }
            return (tokens + (chain.isEmpty ? [] : [.certificateChain(chain)])).map { (id, $0) }
        }
    }

    /// Gives a link to its identity's part; called within a step, which it ends.
    private func signIn(_ node: IdentityNode, attempt: Int) {
        guard !node.isClosed, attempt <= connection.limits.signInAttemptsMax else {
            if !node.isClosed { refuse(node, .serverIsBusy) }
            return stepEnded()
        }
        let part = part(of: node)
        if let part, attempt == 1, join(node, part) { return stepEnded() }
        let candidates = part.map { [($0.id, $0.credential)] } ?? proofs(for: node)
        guard !candidates.isEmpty else {
            refuse(node, .identityMissing)
            return stepEnded()
        }
        look(at: candidates) { finding in
            switch finding {
            case .refused:
                if let part { self.end(part, .revoked) }
                self.refuse(node, .identityMissing)
                self.stepEnded()
            case .unknown(let error):
                self.refuse(node, AMQPError(error))
                self.stepEnded()
            case .identity(let signIn, let credential): self.arrive(node, signIn, credential, attempt: attempt)
            }
        }
    }

    private func arrive(_ node: IdentityNode, _ signIn: SignIn, _ credential: DeviceCredential, attempt: Int) {
        let part: IdentityPart
        if let known = parts[signIn.identity.id] {
            _ = known.renew(signIn.identity, ticket: signIn.ticket, credential: credential)
            part = known
        } else {
            guard parts.count + connection.access.count < connection.limits.tokensMax else {
                refuse(node, AMQPError(.resourceLimitExceeded, "There are too many identities on this connection."))
                return stepEnded()
            }
            part = add(signIn, credential)
        }
        connection.signedIn()
        guard node.isClosed || join(node, part) else { return self.signIn(node, attempt: attempt + 1) }
        stepEnded()
    }

    /// Makes a link one of a part's; false where the proof of the part must be looked at again.
    private func join(_ node: IdentityNode, _ part: IdentityPart) -> Bool {
        guard part.begin(modelID: node.attachProperty("com.microsoft:model-id")) else { return false }
        let older = part.add(node)
        if let older {
            connection.detach(older, AMQPError(.linkStolen, "A newer link of the same kind took its place."))
        }
        node.joined(part)
        return true
    }

    private func refuse(_ node: IdentityNode, _ error: AMQPError) {
        guard !node.isClosed else { return }
        connection.detach(node, error)
    }

    // MARK: Ends

    /// Ends an identity's part of the connection, and nothing else.
    func end(_ part: IdentityPart, _ reason: DisconnectReason) {
        guard !isClosed else { return }
        let error = AMQPError(reason)
        for node in part.nodes { connection.detach(node, error) }
        part.endSession()
        // Whom another connection displaced may come back with the proof that is here; nobody else may.
        if reason != .takenOver, parts[part.id] === part { parts[part.id] = nil }
        connection.identityEnded(reason)
    }

    /// Ends the parts whose proofs have ended.
    func removeEnded(nowSeconds: Int64) {
        for part in parts.values {
            guard let end = part.endsAtSeconds, nowSeconds > end else { continue }
            self.end(part, .tokenExpired)
        }
    }
}

@available(*, unavailable)
extension ConnectionIdentities: Sendable {}
