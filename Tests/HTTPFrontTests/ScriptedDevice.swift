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
        var reason: DisconnectReason?

        init(answer: @escaping @Sendable (MethodCall) -> MethodResult?) {
            self.answer = answer
        }

        func deliver(_ delivery: Delivery) {
            if case .methodCall(let call) = delivery {
                self.calls.append(call)
                if let result = self.answer(call) { self.session?.respond(to: call.id.number, result) }
            }
            if case .disconnect(let reason) = delivery { self.reason = reason }
        }
    }

    private let loop: any EventLoop
    private let connection: NIOLoopBound<Connection>

    /// Connects an identity, proven by one of its keys.
    init(
        _ hub: Hub,
        _ id: IdentityID,
        key: KeySlot = .primary,
        answer: @escaping @Sendable (MethodCall) -> MethodResult? = { _ in nil }
    ) async throws {
        let loop = MultiThreadedEventLoopGroup.singleton.any()
        self.loop = loop
        self.connection = try await loop.submit {
            let connection = Connection(answer: answer)
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
    func firstCall() async throws -> MethodCall {
        while true {
            if let call = try await self.calls.first { return call }
            await Task.yield()
        }
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
