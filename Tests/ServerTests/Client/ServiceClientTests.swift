// Roost, a self-hosted IoT hub.
// Copyright the Roost authors.
// SPDX-License-Identifier: Apache-2.0

import HubClient
import NIOCore
import NIOHTTP1
import NIOPosix
import Synchronization
import Testing

@Suite struct ServiceClientTests {
    @Test func `a request names the version, carries a token and puts its body`() async throws {
        let server = try await CannedHTTPServer(status: .ok, body: #"{"deviceId":"a%b","etag":"MQ==","new":1}"#)
        let device = DeviceIdentity(deviceID: "a%b")
        let answer = try await server.with { try await $0.update(device, ifMatch: "MQ==") }
        #expect(answer.value.deviceID == "a%b" && answer.value.etag == "MQ==")
        #expect(String(decoding: answer.document, as: UTF8.self).contains(#""new":1"#))
        let request = try #require(server.requests.first)
        #expect(request.uri == "/devices/a%25b?api-version=2021-04-12")
        #expect(request.method == .PUT && request.headers["If-Match"] == ["\"MQ==\""])
        let token = try #require(request.headers["Authorization"].first)
        #expect(token.hasPrefix("SharedAccessSignature sr=hub.example.com&sig=") && token.hasSuffix("&skn=service"))
        #expect(request.body == #"{"deviceId":"a%b"}"#)
    }

    @Test(arguments: [
        (
            #"{"Message":"ErrorCode:DeviceNotFound;The device with ID 'x' was not found.","ExceptionMessage":"t"}"#,
            HTTPResponseStatus.notFound, "DeviceNotFound", "The device with ID 'x' was not found."
        ),
        (
            #"{"Message":"{\"errorCode\":404103,\"message\":\"Not online.\",\"info\":null}","ExceptionMessage":""}"#,
            .notFound, "DeviceNotFound", "Not online."
        ),
        ("<html>", .badGateway, "DeviceNotFound", ""),
    ])
    func `both forms of error bodies become one sentence`(
        _ body: String,
        _ status: HTTPResponseStatus,
        _ code: String,
        _ message: String
    ) async throws {
        let server = try await CannedHTTPServer(status: status, body: body, errorCode: "DeviceNotFound")
        let error = await #expect(throws: HubClientError.self) { try await server.with { try await $0.device("x") } }
        #expect(error == .refused(refusal(error)) && refusal(error).code == code && refusal(error).message == message)
    }

    @Test func `bulk calls take a hundred items each and their failures are gathered`() async throws {
        let body = """
            {"isSuccessful":false,"errors":[{"deviceId":"d","moduleId":null,"errorCode":409001,"errorStatus":"s"}],\
            "warnings":[]}
            """
        let server = try await CannedHTTPServer(
            status: .badRequest,
            body: body,
            errorCode: "BulkRegistryOperationFailure"
        )
        let changes = (0..<250).map { BulkChange(id: "d\($0)", importMode: .create) }
        let result = try await server.with { try await $0.change(changes) }
        #expect(!result.isSuccessful && result.errors.map(\.errorCode) == ["409001", "409001", "409001"])
        #expect(server.requests.map(\.itemCount) == [100, 100, 50])
    }

    @Test func `a hub that is not there is told at once`() async throws {
        let server = try await CannedHTTPServer(status: .ok, body: "")
        try await server.close()
        let error = await #expect(throws: HubClientError.self) {
            try await server.with { try await $0.devices(top: 1) }
        }
        guard case .unreachable("127.0.0.1", server.port, _) = error else {
            Issue.record("\(String(describing: error))")
            return
        }
    }

    @Test func `TLS that is not there is told as such`() async throws {
        let server = try await CannedHTTPServer(status: .ok, body: "")
        let error = await #expect(throws: HubClientError.self) {
            try await server.with(plain: false) { try await $0.devices(top: 1) }
        }
        guard case .tlsFailed = error else {
            Issue.record("\(String(describing: error))")
            return
        }
    }

    private func refusal(_ error: HubClientError?) -> HubRefusal {
        guard case .refused(let refusal) = error else {
            preconditionFailure("not refused: \(String(describing: error))")
        }
        return refusal
    }
}

/// A server that gives the same answer to every request and remembers the requests.
final class CannedHTTPServer: Sendable {
    struct Request: Sendable {
        let method: HTTPMethod
        let uri: String
        let headers: HTTPHeaders
        var body = ""

        /// How many items with an id the body has.
        var itemCount: Int { self.body.split(separator: #""id":"#, omittingEmptySubsequences: false).count - 1 }
    }

    let port: Int
    private let channel: any Channel
    private let log: RequestLog

    var requests: [Request] { self.log.all }

    init(status: HTTPResponseStatus, body: String, errorCode: String? = nil) async throws {
        let log = RequestLog()
        let channel = try await ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .childChannelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.configureHTTPServerPipeline()
                    let handler = CannedHTTPHandler(status: status, body: body, errorCode: errorCode, log: log)
                    try channel.pipeline.syncOperations.addHandler(handler)
                }
            }
            .bind(host: "127.0.0.1", port: 0).get()
        self.channel = channel
        self.log = log
        self.port = channel.localAddress?.port ?? 0
    }

    deinit {
        self.channel.close(promise: nil)
    }

    func close() async throws {
        try await self.channel.close()
    }

    func with<Result: Sendable>(
        plain: Bool = true,
        _ body: (ServiceClient) async throws -> Result
    ) async throws -> Result {
        var address = HubAddress(hostName: "hub.example.com")
        address.isPlain = plain
        address.connectHost = "127.0.0.1"
        address.httpsPort = self.port
        return try await ServiceClient.with(address: address, policy: "service", key: "AAAA", body)
    }
}

private final class RequestLog: Sendable {
    private let requests = Mutex<[CannedHTTPServer.Request]>([])

    var all: [CannedHTTPServer.Request] { self.requests.withLock { $0 } }

    func add(_ request: CannedHTTPServer.Request) {
        self.requests.withLock { $0.append(request) }
    }
}

private final class CannedHTTPHandler: ChannelInboundHandler {
    typealias InboundIn = HTTPServerRequestPart
    typealias OutboundOut = HTTPServerResponsePart

    private let status: HTTPResponseStatus
    private let body: String
    private let errorCode: String?
    private let log: RequestLog
    private var request: CannedHTTPServer.Request?

    init(status: HTTPResponseStatus, body: String, errorCode: String?, log: RequestLog) {
        self.status = status
        self.body = body
        self.errorCode = errorCode
        self.log = log
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        switch self.unwrapInboundIn(data) {
        case .head(let head):
            self.request = .init(method: head.method, uri: head.uri, headers: head.headers)
        case .body(let bytes):
            self.request?.body += String(buffer: bytes)
        case .end:
            if let request {
                self.log.add(request)
            }
            var headers = HTTPHeaders([("Content-Length", "\(self.body.utf8.count)")])
            if let errorCode {
                headers.add(name: "iothub-errorcode", value: errorCode)
            }
            let head = HTTPResponseHead(version: .http1_1, status: self.status, headers: headers)
            context.write(self.wrapOutboundOut(.head(head)), promise: nil)
            context.write(self.wrapOutboundOut(.body(.byteBuffer(ByteBuffer(string: self.body)))), promise: nil)
            context.writeAndFlush(self.wrapOutboundOut(.end(nil)), promise: nil)
        }
    }
}
