// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import Hub
import HubModel
import HubTransport
import Logging
import MQTT
import NIOCore

/// From CONNECT to CONNACK.
extension MQTTHandler {
    struct SignedIn: Sendable {
        var identity: AuthenticatedIdentity
        var ticket: Directory.SignInTicket
        var subscriptions: [SubscriptionFilter]
    }

    func connectReceived(_ connect: Connect) {
        switch machine.connectReceived() {
        case .close(let end): close(.session(end))
        case .authenticate:
            do throws(SignInRequest.Refusal) {
                try signIn(SignInRequest(connect, names: front.hub.names), connect, attempt: 1)
            } catch {
                refuse(.notAuthorized, detail: "\(error)")
            }
        }
    }

    private func signIn(_ request: SignInRequest, _ connect: Connect, attempt: Int) {
        guard let context else { return }
        let hub = front.hub
        let credential = credential(of: request, channel: context.channel)
        let (id, modelID, isClean) = (request.id, request.modelID, connect.cleanSession)
        context.eventLoop.makeFutureWithTask {
            let (identity, ticket) = try await hub.authenticate(id, credential: credential, modelID: modelID)
            var subscriptions = try await hub.stores.identities.subscriptions(of: id)
            // [MQTT-3.1.2-6]
            if isClean, !subscriptions.isEmpty {
                try await hub.stores.identities.removeSubscriptions(nil, of: id)
                subscriptions = []
            }
            return SignedIn(identity: identity, ticket: ticket, subscriptions: subscriptions)
        }.assumeIsolated().whenComplete { result in
            guard !self.isClosing else { return }
            switch result {
            case .success(let signedIn):
                if self.isRefusedByFault(id) { return }
                self.accept(signedIn, request, connect, attempt: attempt)
            case .failure(let error):
                // Of a credential that it refused, the authenticator has logged what is wrong with it.
                let isLogged = (error as? HubError)?.code == .unauthorized
                self.refuse(ErrorMapping.returnCode(for: error), client: id, detail: "\(error)", isLogged: isLogged)
            }
        }
    }

    private func credential(of request: SignInRequest, channel: any Channel) -> DeviceCredential {
        if let token = request.token { return .token(token) }
        let chain = front.peerCertificates(channel)
        return chain.isEmpty ? .nothing : .certificateChain(chain)
    }

    private func accept(_ signedIn: SignedIn, _ request: SignInRequest, _ connect: Connect, attempt: Int) {
        guard let context else { return }
        let link = DeviceLink(self, eventLoop: context.eventLoop)
        guard let session = front.hub.open(signedIn.identity, link: link, ticket: signedIn.ticket) else {
            // Something was revoked meanwhile: what was read of the store may be out of date.
            guard attempt < front.limits.signInAttemptsMax else { return refuse(.serverUnavailable) }
            return signIn(request, connect, attempt: attempt + 1)
        }
        self.session = session
        scope = TopicScope(request.id)
        isPlugAndPlay = request.modelID != nil
        keepsSession = !connect.cleanSession
        keepWill(of: connect)
        let now = self.now
        let accepted = machine.accept(
            connect,
            stored: SubscriptionSet(
                signedIn.subscriptions.map {
                    Subscribe.Request(filter: $0.filter, qos: QoS(rawValue: $0.qos) ?? .atMostOnce)
                }
            ),
            expiresAt: secondsLeft(of: session).map { now + .seconds($0) },
            now: now
        )
        precondition(accepted, "signed in on a connection that waits for no sign-in")
        subscriptionsChanged()
        front.hub.metrics.mqtt.signedIn.add()
        // The hub says so of every session that is to be kept, even of a new one (docs/wire/mqtt.md#session-present).
        Connack(sessionPresent: keepsSession, returnCode: .accepted).encode(into: &outbound)
        context.triggerUserOutboundEvent(ConnectionAuthenticated(), promise: nil)
        armTimer()
        resume()
        commandsMayWait()
    }

    /// How long the credential lasts from now; nil where it does not end in the time of man.
    private func secondsLeft(of session: DeviceSession) -> Int64? {
        guard let end = session.endsAtSeconds else { return nil }
        let (left, overflow) = end.subtractingReportingOverflow(front.hub.clock.seconds)
        return overflow || left > 1 << 32 ? nil : max(0, left)
    }

    /// Keeps the will if it is telemetry of this client, copied so that it does not keep the read buffer alive.
    private func keepWill(of connect: Connect) {
        guard let will = connect.will, let scope else { return }
        guard scope.telemetryBag(of: will.topic) != nil else {
            front.hub.logger.info("mqtt will ignored: its topic is not the client's telemetry topic")
            return
        }
        self.will = Connect.Will(
            topic: ByteBuffer(bytes: will.topic.readableBytesView),
            payload: ByteBuffer(bytes: will.payload.readableBytesView),
            qos: will.qos,
            retain: will.retain
        )
    }
}
