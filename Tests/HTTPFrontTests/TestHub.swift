// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import AsyncHTTPClient
import HTTPFront
import Hub
import HubModel
import HubTesting
import JSON
import Logging
import NIOCore
import NIOHTTP1
import NIOPosix
import Testing

/// A hub with the HTTPS port's front on a free plain port, and a client that signs in as any policy.
struct TestHub {
    /// The names that the hub answers to.
    static let hostName = "hub.example.com"
    static let now: Int64 = 1_750_000_000

    let hub: Hub
    let registry: Registry
    let policies: [String: SharedAccessPolicy]
    let port: Int

    /// What a client got.
    struct Answer {
        var status: Int
        var headers: HTTPHeaders
        var text: String

        var json: JSONValue? {
            do { return try JSONDocument(parsing: self.text).root } catch { return nil }
        }
        var code: String? { self.headers.first(name: "iothub-errorcode") }
        var message: String? { self.json?["Message"]?.string }
    }

    /// Runs a hub for as long as the body lasts.
    static func with(
        tunnels: [String: TunnelInstaller] = [:],
        limits: HTTPFrontLimits = HTTPFrontLimits(),
        hubLimits: Limits = Limits(),
        _ body: (TestHub) async throws -> Void
    ) async throws {
        let made = try InProcessHub(
            hostNames: [Self.hostName, "localhost"],
            policies: Registry.newPolicies(),
            events: NoEvents(),
            clock: TestClock(milliseconds: Self.now * 1000),
            limits: hubLimits
        )
        let logger = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
        let front = HTTPFront(hub: made.hub, registry: made.registry, tunnels: tunnels, limits: limits, logger: logger)
        let server = try await ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .childChannelInitializer { front.install(on: $0) }
            .childChannelOption(.allowRemoteHalfClosure, value: true)
            .bind(host: "127.0.0.1", port: 0).get()
        let policies = Dictionary(uniqueKeysWithValues: made.policies.policies.map { ($0.name, $0) })
        let test = TestHub(
            hub: made.hub,
            registry: made.registry,
            policies: policies,
            port: server.localAddress?.port ?? 0
        )
        do {
            try await body(test)
        } catch {
            try await server.close()
            throw error
        }
        try await server.close()
    }

    /// A token of a policy.
    func token(
        _ policy: String,
        resource: String = hostName,
        key: String? = nil,
        expiry: Int64 = now + 600
    ) -> String {
        let key = key ?? self.policies[policy]?.primaryKey ?? ""
        return TestToken.make(resource, key: key, expiry: expiry, policy: policy)
    }

    /// Sends a request as the owner of the hub and expects a status.
    func expect(
        _ status: Int,
        _ method: HTTPMethod,
        _ path: String,
        _ body: String? = nil,
        headers: [String: String]
    ) async throws {
        let answer = try await self.send(method, path, body, headers: headers)
        #expect(answer.status == status, "\(method) \(path)")
    }

    /// Sends a request, by default as the owner of the hub and with an api-version.
    func send(
        _ method: HTTPMethod,
        _ path: String,
        _ body: String? = nil,
        as policy: String? = "iothubowner",
        headers: [String: String] = [:],
        version: String? = "api-version=2021-04-12"
    ) async throws -> Answer {
        var uri = "http://127.0.0.1:\(self.port)\(path)"
        if let version { uri += (path.contains("?") ? "&" : "?") + version }
        var request = HTTPClientRequest(url: uri)
        request.method = method
        for (name, value) in headers { request.headers.replaceOrAdd(name: name, value: value) }
        if let policy, headers["Authorization"] == nil {
            request.headers.add(name: "Authorization", value: self.token(policy))
        }
        if let body { request.body = .bytes(ByteBuffer(string: body)) }
        let response = try await HTTPClient.shared.execute(request, timeout: .seconds(30))
        let text = String(buffer: try await response.body.collect(upTo: 1 << 24))
        return Answer(status: Int(response.status.code), headers: response.headers, text: text)
    }
}

/// An event store that nobody asks here.
struct NoEvents: EventStore {
    let partitionCount = 1
    let createdTimeMilliseconds: Int64 = 0
    let isWritable = true

    private func unused() -> HubError { HubError(.notSupported, "unused") }

    func append(_ batch: EventBatch, on eventLoop: any EventLoop) -> EventLoopFuture<EventPosition> {
        eventLoop.makeFailedFuture(self.unused())
    }
    func readResident(partition: Int, from cursor: EventCursor, bytesMax: Int) -> EventSlice? { nil }
    func read(
        partition: Int,
        from cursor: EventCursor,
        bytesMax: Int,
        on eventLoop: any EventLoop
    ) -> EventLoopFuture<EventSlice> { eventLoop.makeFailedFuture(self.unused()) }
    func locate(
        partition: Int,
        _ position: StartingPosition,
        on eventLoop: any EventLoop
    ) -> EventLoopFuture<EventCursor> { eventLoop.makeFailedFuture(self.unused()) }
    func info(partition: Int) -> PartitionInfo { preconditionFailure("no event is asked for here") }
    func watch(
        partition: Int,
        on eventLoop: any EventLoop,
        wake: @escaping @Sendable () -> Void
    ) -> any EventWatch { preconditionFailure("no event is asked for here") }
}
