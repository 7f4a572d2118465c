// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import NIOCore

/// A connection whose links are attached, as any thread may hold it.
struct AttachedLinks: Sendable {
    /// The connection.
    let channel: any Channel
    fileprivate let ended: EventLoopFuture<Void>
    fileprivate let purpose: String

    /// Calls `body` when the connection has ended, with the reason; on the connection's thread.
    func whenEnded(_ body: @escaping @Sendable (HubClientError) -> Void) {
        let purpose = self.purpose
        self.ended.whenFailure { error in
            body(error as? HubClientError ?? .closed(during: purpose))
        }
    }

    /// Closes the connection.
    func close() async {
        // A connection that the hub has closed already is closed.
        do { try await self.channel.close() } catch {}
    }
}

extension ClientChannel {
    /// Connects, signs in and attaches.
    ///
    /// - Parameters:
    ///   - plan: what to sign in for and to attach.
    ///   - loop: where the connection lives.
    ///   - user: makes what uses the links, on the loop.
    /// - Returns: the connection once every link is attached; fails with a ``HubClientError``.
    func open(
        _ plan: LinkPlan,
        on loop: any EventLoop,
        user: @escaping @Sendable () -> any LinkUser
    ) -> EventLoopFuture<AttachedLinks> {
        let attached = loop.makePromise(of: Void.self)
        let ended = loop.makePromise(of: Void.self)
        let (host, port) = (plan.address.dialHost, plan.address.amqpPort)
        return self.connect(on: loop, port: port) { _ in
            LinkConnection(plan: plan, user: user(), attached: attached, ended: ended)
        }.flatMapErrorThrowing { error in
            let failure = HubClientError.connecting(error, host: host, port: port)
            attached.fail(failure)
            ended.fail(failure)
            throw failure
        }.flatMap { channel in
            attached.futureResult.map {
                AttachedLinks(channel: channel, ended: ended.futureResult, purpose: plan.purpose)
            }
        }
    }
}
