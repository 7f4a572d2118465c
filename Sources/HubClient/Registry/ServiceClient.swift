// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import AsyncHTTPClient
public import FoundationEssentials
import NIOCore
import NIOHTTP1
import NIOPosix
import NIOSSL
#if canImport(Glibc)
import Glibc
#endif

/// What a service asks of a hub over HTTPS: the registry, twins, direct methods, and the clearing of command queues.
public struct ServiceClient: Sendable {
    /// An answer: its value, and the document as the hub wrote it.
    public struct Answer<Value: Sendable>: Sendable {
        /// The value read from the document.
        public let value: Value
        /// The document byte for byte, with members this client does not know.
        public let document: Data

        /// The document as text.
        public var text: String { String(decoding: self.document, as: UTF8.self) }
    }

    /// Limits of this client.
    public struct Limits: Sendable {
        /// The largest answer read: 1,000 devices of 2 KiB, and as much again.
        public var answerBytes = 4 << 20
        /// How long one request may take.
        public var request: Duration = .seconds(60)
        /// How long the making of a connection may take.
        public var connect: Duration = .seconds(10)
        /// How many connections requests share before they wait for one.
        public var connections = 8
        /// How many items one bulk call takes: the hub refuses more.
        public var bulkItems = 100
        /// How long a token is valid; each request has its own.
        public var tokenSeconds: Int64 = 600

        /// Makes the default limits.
        public init() {}
    }

    /// The version of the API that this client asks for.
    public static let apiVersion = "2021-04-12"

    private let http: HTTPClient
    private let address: HubAddress
    private let policy: String
    private let key: String
    let limits: Limits

    private init(http: HTTPClient, address: HubAddress, policy: String, key: String, limits: Limits) {
        self.http = http
        self.address = address
        self.policy = policy
        self.key = key
        self.limits = limits
    }

    /// Runs `body` with a client and closes its connections afterwards.
    ///
    /// - Parameters:
    ///   - address: where the hub is.
    ///   - policy: the name of a shared access policy.
    ///   - key: the policy's key as base64 text.
    ///   - limits: limits of the client.
    ///   - body: what is done with it.
    /// - Returns: what `body` returns.
    /// - Throws: what `body` throws, and ``HubClientError`` when the client cannot be made.
    public static func with<Result: Sendable>(
        address: HubAddress,
        policy: String,
        key: String,
        limits: Limits = .init(),
        _ body: (ServiceClient) async throws -> Result
    ) async throws -> Result {
        var configuration = HTTPClient.Configuration(tlsConfiguration: try address.tlsConfiguration())
        configuration.httpVersion = .http1Only
        configuration.timeout.connect = .init(limits.connect)
        // A hub that is not there is told at once, not after ten seconds of trying.
        configuration.connectionPool.retryConnectionEstablishment = false
        configuration.connectionPool.concurrentHTTP1ConnectionsPerHostSoftLimit = limits.connections
        configuration.dnsOverride = [address.bareHostName: address.dialHost]
        let http = HTTPClient(
            eventLoopGroupProvider: .shared(MultiThreadedEventLoopGroup.singleton),
            configuration: configuration
        )
        let client = ServiceClient(http: http, address: address, policy: policy, key: key, limits: limits)
        do {
            let result = try await body(client)
            try await http.shutdown()
            return result
        } catch {
            try await http.shutdown()
            throw error
        }
    }

    /// Reads one device.
    public func device(_ id: String) async throws -> Answer<DeviceIdentity> {
        try await self.identity(.GET, id: id)
    }

    /// Makes a device; it is an error if it exists.
    public func create(_ device: DeviceIdentity) async throws -> Answer<DeviceIdentity> {
        try await self.identity(.PUT, id: device.deviceID, body: device)
    }

    /// Replaces what a client may set of a device.
    ///
    /// - Parameters:
    ///   - device: the whole identity; what is nil is reset.
    ///   - etag: the etag that the device must have, or nil for any.
    /// - Returns: the identity as it is now.
    /// - Throws: ``HubClientError``.
    public func update(_ device: DeviceIdentity, ifMatch etag: String?) async throws -> Answer<DeviceIdentity> {
        try await self.identity(.PUT, id: device.deviceID, body: device, ifMatch: etag ?? "*")
    }

    /// Takes a device away.
    public func delete(_ id: String, ifMatch etag: String?) async throws {
        let path = "/devices/\(percentEncoded(id))"
        let answer = try await self.send(.DELETE, path: path, body: nil, ifMatch: etag ?? "*")
        guard (200..<300).contains(answer.status) else { throw answer.refusal }
    }

    /// Lists up to `top` devices, at most 1,000.
    public func devices(top: Int) async throws -> Answer<[DeviceIdentity]> {
        let answer = try await self.send(.GET, path: "/devices", query: "&top=\(top)")
        return try answer.decoded()
    }

    /// Changes many devices, by as many calls as that takes.
    ///
    /// - Parameters:
    ///   - changes: any number of items; each takes effect or fails by itself.
    ///   - progress: called after each call with how many items are done.
    /// - Returns: the failures of all calls together.
    /// - Throws: ``HubClientError`` when a call as a whole did not work; items of earlier calls have taken effect.
    public func change(
        _ changes: [BulkChange],
        progress: (Int) -> Void = { _ in }
    ) async throws -> BulkResult {
        var result = BulkResult(isSuccessful: true, errors: [])
        var start = 0
        while start < changes.count {
            let end = min(start + self.limits.bulkItems, changes.count)
            let body = try JSONEncoder().encode(Array(changes[start..<end]))
            let answer = try await self.send(.POST, path: "/devices", body: body)
            // A call of which some items failed answers 400 with the same document (docs/wire/http.md).
            let isResult = answer.status == 200 || answer.errorName == "BulkRegistryOperationFailure"
            guard isResult else { throw answer.refusal }
            let part: Answer<BulkResult> = try answer.decodedAnyStatus()
            result.isSuccessful = result.isSuccessful && part.value.isSuccessful
            result.errors += part.value.errors
            start = end
            progress(end)
        }
        return result
    }

    private func identity(
        _ method: HTTPMethod,
        id: String,
        body: DeviceIdentity? = nil,
        ifMatch etag: String? = nil
    ) async throws -> Answer<DeviceIdentity> {
        let path = "/devices/\(percentEncoded(id))"
        let bytes = try body.map { try JSONEncoder().encode($0) }
        return try await self.send(method, path: path, body: bytes, ifMatch: etag).decoded()
    }

    /// Sends one request with a token of its own.
    ///
    /// - Parameters:
    ///   - method: what to do.
    ///   - path: the path, percent-encoded.
    ///   - query: more of the query, from its `&` on.
    ///   - body: a JSON text.
    ///   - etag: the etag that must match, without quotes; `*` is any.
    ///   - timeout: how long to wait for the answer, or nil for the usual time.
    /// - Returns: whatever the hub answered.
    /// - Throws: ``HubClientError`` when there was no answer, `CancellationError` when the task was cancelled.
    func send(
        _ method: HTTPMethod,
        path: String,
        query: String = "",
        body: Data? = nil,
        ifMatch etag: String? = nil,
        timeout: Duration? = nil
    ) async throws -> RawAnswer {
        // An empty id would make the path that of another thing: all devices, for one.
        guard !path.hasSuffix("/"), !path.contains("//") else { throw HubClientError.emptyID }
        let scheme = self.address.isPlain ? "http" : "https"
        let host = "\(self.address.bareHostName):\(self.address.httpsPort)"
        var request = HTTPClientRequest(
            url: "\(scheme)://\(host)\(path)?api-version=\(Self.apiVersion)\(query)"
        )
        request.method = method
        let token = try SASToken.make(
            resource: self.address.hostName,
            key: self.key,
            policy: self.policy,
            expiresAt: SASToken.expiry(inSeconds: self.limits.tokenSeconds)
        )
        request.headers.add(name: "Authorization", value: token)
        if let etag {
            // The API writes an etag in quotes, whether or not it was given with them.
            let bare =
                etag.hasPrefix("\"") && etag.hasSuffix("\"") && etag.count > 1
                ? String(etag.dropFirst().dropLast()) : etag
            request.headers.add(name: "If-Match", value: "\"\(bare)\"")
        }
        if let body {
            request.headers.add(name: "Content-Type", value: "application/json; charset=utf-8")
            request.body = .bytes(body)
        }
        do {
            let response = try await self.http.execute(request, timeout: .init(timeout ?? self.limits.request))
            let bytes = try await response.body.collect(upTo: self.limits.answerBytes)
            return RawAnswer(
                status: response.status.code,
                errorName: response.headers.first(name: "iothub-errorcode") ?? "",
                document: Data(bytes.readableBytesView)
            )
        } catch let error as CancellationError {
            throw error
        } catch {
            throw HubClientError.connecting(error, host: self.address.dialHost, port: self.address.httpsPort)
        }
    }
}

/// An answer before anything is made of it.
struct RawAnswer {
    let status: UInt
    let errorName: String
    let document: Data

    func decoded<Value: Decodable & Sendable>() throws(HubClientError) -> ServiceClient.Answer<Value> {
        guard (200..<300).contains(self.status) else { throw self.refusal }
        return try self.decodedAnyStatus()
    }

    func decodedAnyStatus<Value: Decodable & Sendable>() throws(HubClientError) -> ServiceClient.Answer<Value> {
        do {
            return .init(value: try JSONDecoder().decode(Value.self, from: self.document), document: self.document)
        } catch {
            throw .protocolViolation("an answer with status \(self.status) is not the JSON that was expected")
        }
    }

    /// The hub's refusal, out of either of the two forms that error bodies have (docs/wire/http.md).
    var refusal: HubClientError {
        struct Body: Decodable {
            let message: String?
            enum CodingKeys: String, CodingKey { case message = "Message" }
        }
        struct Inner: Decodable {
            let message: String?
        }
        let decoder = JSONDecoder()
        var code = self.errorName
        var message = ""
        // A body that is not in the hub's form says nothing more than the status does.
        if let body = try? decoder.decode(Body.self, from: self.document), let text = body.message {
            message = text
            if let inner = try? decoder.decode(Inner.self, from: Data(text.utf8)), let innerMessage = inner.message {
                message = innerMessage
            } else if text.hasPrefix("ErrorCode:"), let semicolon = text.firstIndex(of: ";") {
                let name = text[..<semicolon].dropFirst("ErrorCode:".count)
                code = code.isEmpty ? String(name) : code
                message = String(text[text.index(after: semicolon)...])
            }
        }
        return .refused(.init(status: self.status, code: code, message: message))
    }
}
