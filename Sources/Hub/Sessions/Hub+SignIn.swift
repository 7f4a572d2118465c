// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

public import HubModel
import NIOCore

extension Hub {
    /// Authenticates a device or a module for a connection; the ticket goes to ``open(_:link:ticket:)``.
    ///
    /// - Throws: what ``DeviceAuthenticating/authenticate(_:credential:nowSeconds:)`` throws.
    public func authenticate(
        _ id: IdentityID,
        credential: DeviceCredential,
        modelID: String? = nil
    ) async throws -> (identity: AuthenticatedIdentity, ticket: Directory.SignInTicket) {
        let ticket = directory.beginSignIn(id)
        var identity = try await devices.authenticate(id, credential: credential, nowSeconds: clock.seconds)
        identity.modelID = modelID
        return (identity, ticket)
    }

    /// Makes an authenticated identity's connection its session, and ends the one it had; called on the loop.
    ///
    /// Returns nil where something was revoked since `ticket` was taken: the front authenticates again.
    public func open(
        _ identity: AuthenticatedIdentity,
        link: DeviceLink,
        ticket: Directory.SignInTicket
    ) -> DeviceSession? {
        link.eventLoop.preconditionInEventLoop()
        switch directory.register(identity, link: link, ticket: ticket) {
        case .stale:
            return nil
        case .registered(let number):
            return DeviceSession(hub: self, identity: identity, connectionNumber: number, link: link)
        }
    }
}
