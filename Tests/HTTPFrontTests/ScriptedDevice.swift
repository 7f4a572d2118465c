// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import Hub
import HubModel
import NIOCore
import NIOPosix

/// A connected device or module that takes methods and answers them as a test says.
final class ScriptedDevice: Sendable {
    private final class Connection: DeviceConnection {
        let answer: @Sendable (MethodCall) -> MethodResult?
        var session: DeviceSession?
        var calls: [MethodCall] = []
        let firstCall: EventLoopPromise<MethodCall>
        var reason: DisconnectReason?

        init(answer: @escaping @Sendable (MethodCall) -> MethodResult?, firstCall: EventLoopPromise<MethodCall>) {
            self.answer = answer
            self.firstCall = firstCall
        }

        func deliver(_ delivery: Delivery) {
            if case .methodCall(let call) = delivery {
                self.calls.append(call)
                self.firstCall.succeed(call)
                if let result = self.answer(call) { self.session?.respond(to: call.id.number, result) }
            }
            if case .disconnect(let reason) = delivery { self.reason = reason }
        }
    }

    private let loop: any EventLoop
    private let connection: NIOLoopBound<Connection>
    private let firstCallPromise: EventLoopPromise<MethodCall>

    /// Connects an identity, proven by one of its keys.
    init(
        _ hub: Hub,
        _ id: IdentityID,
        key: KeySlot = .primary,
        answer: @escaping @Sendable (MethodCall) -> MethodResult? = { _ in nil }
    ) async throws {
        let loop = MultiThreadedEventLoopGroup.singleton.any()
        let firstCall = loop.makePromise(of: MethodCall.self)
        self.loop = loop
        self.firstCallPromise = firstCall
        // A call that never comes fails the test that waits for it, by name.
        loop.scheduleTask(in: .seconds(60)) { firstCall.fail(ChannelError.eof) }
        self.connection = try await loop.submit {
            let connection = Connection(answer: answer, firstCall: firstCall)
            let identity = AuthenticatedIdentity(
                id: id,
                generationID: "1",
                proof: .identityKey(key),
                expiresAtSeconds: nil
            )
            let link = DeviceLink(connection, eventLoop: loop)
            connection.session = hub.open(identity, link: link, ticket: hub.directory.beginSignIn(id))
            connection.session?.wants(.methods, true)
            return NIOLoopBound(connection, eventLoop: loop)
        }.get()
    }

    /// The calls that have come.
    var calls: [MethodCall] {
        get async throws { try await self.loop.submit { self.connection.value.calls }.get() }
    }

    /// Why the hub asked it to end, nil where it did not.
    var disconnectReason: DisconnectReason? {
        get async throws { try await self.loop.submit { self.connection.value.reason }.get() }
    }

    /// Waits for the first call.
    ///
    /// - Throws: `ChannelError.eof` where none comes for long
    func firstCall() async throws -> MethodCall {
        try await self.firstCallPromise.futureResult.get()
    }

    /// Answers a call; false where nobody waits for it.
    func answer(_ call: MethodCall, _ result: MethodResult) async throws -> Bool {
        try await self.loop.submit {
            self.connection.value.session?.respond(to: call.id.number, result) ?? false
        }.get()
    }

    /// Ends the connection.
    func close() async throws {
        try await self.loop.submit { self.connection.value.session?.close() }.get()
    }
}
